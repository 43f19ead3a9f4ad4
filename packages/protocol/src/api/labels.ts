/** Labels of nodes and VMs, and the words that choose by them. The words are those of selectors in Kubernetes. */
import { z } from "zod";
import { limits } from "../limits.ts";

export const labelKeySchema = z
  .string()
  .max(limits.nameLengthMax)
  .regex(/^[a-z0-9]([a-z0-9._/-]*[a-z0-9])?$/, "use lower-case letters, digits, dots, slashes, dashes and underscores");

export const labelValueSchema = z
  .string()
  .max(limits.nameLengthMax)
  .regex(/^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$/, "use letters, digits, dots, dashes and underscores");

export const labelsSchema = z
  .record(labelKeySchema, labelValueSchema)
  .refine((labels) => Object.keys(labels).length <= limits.labelsMax, `there are at most ${limits.labelsMax} labels`);
export type Labels = Readonly<Record<string, string>>;

/** Stands for the node itself where the key of a label of nodes is asked for, and is therefore no key of their labels. */
export const nodeTopology = "node";

export const nodeLabelsSchema = labelsSchema.refine(
  (labels) => !Object.hasOwn(labels, nodeTopology),
  `${nodeTopology} stands for the node itself, and is no label of nodes`,
);

const key = "[a-z0-9]([a-z0-9._/-]*[a-z0-9])?";
const value = "([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?";
const selectorPattern = new RegExp(
  `^(!?${key}|${key}!?=${value}|${key} (in|notin) \\(${value}(, ?${value}){0,${limits.selectorValuesMax - 1}}\\))$`,
);

/** `zone=a`, `zone!=a`, `gpu`, `!gpu`, `zone in (a,b)`, `zone notin (a,b)`. */
export const selectorSchema = z
  .string()
  .max(limits.selectorLengthMax)
  .regex(selectorPattern, "use KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (A,B) or KEY notin (A,B)");

/** Whether something with these labels is chosen by a selector. What has no such label is different from every value. */
export function selects(selector: string, labels: Labels = {}): boolean {
  const list = /^(\S+) (in|notin) \((.*)\)$/.exec(selector);
  if (list !== null) {
    const [, name = "", word, values = ""] = list;
    return isOneOf(labels, name, values.split(/, ?/)) === (word === "in");
  }
  const [left = "", right] = selector.split("=", 2);
  if (right !== undefined) {
    return left.endsWith("!") ? !isOneOf(labels, left.slice(0, -1), [right]) : isOneOf(labels, left, [right]);
  }
  return left.startsWith("!") ? !Object.hasOwn(labels, left.slice(1)) : Object.hasOwn(labels, left);
}

function isOneOf(labels: Labels, name: string, values: readonly string[]): boolean {
  return Object.hasOwn(labels, name) && values.includes(labels[name] ?? "");
}

/** Whether something has all of these labels. */
export function hasLabels(labels: Labels = {}, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, asked]) => isOneOf(labels, name, [asked]));
}

/** `app=web,tier=front`, in the order of the keys. */
export function labelsText(labels: Labels = {}): string {
  return Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, given]) => `${name}=${given}`)
    .join(",");
}
