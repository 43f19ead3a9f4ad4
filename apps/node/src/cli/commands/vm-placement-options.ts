/** Labels, and where a VM may be, on the command line. */
import { BlixardError } from "@blixard/common";
import { type Labels, labelsText, type NodeVerdict, selects, type VmAffinity, type VmRecord } from "@blixard/protocol";
import { formatTable } from "../table.ts";
import type { ListOption } from "./list-option.ts";

export const constraintOption: ListOption = {
  flag: "--placement-constraint <selector>",
  hint: 'KEY, !KEY, KEY=VALUE, KEY!=VALUE, "KEY in (A,B)" or "KEY notin (A,B)"',
  read: (given) => given,
};

const affinityForm = "near|apart:KEY=VALUE[+KEY=VALUE][,topology=LABEL][,soft]";

export const affinityOption: ListOption = {
  flag: "--placement-affinity <rule>",
  hint: `${affinityForm}; for example apart:app=db,topology=zone`,
  read: (given) => given.map(parseAffinity),
};

/** `near:app=web+tier=front,topology=zone,soft`. @throws INVALID_ARGUMENT */
function parseAffinity(text: string): VmAffinity {
  const [rule = "", ...words] = text.split(",");
  const [type, ...vms] = rule.split(":");
  if ((type !== "near" && type !== "apart") || vms.length !== 1) throw wrongAffinity(text);
  let affinity: VmAffinity = { type, vms: parseLabels((vms[0] ?? "").split("+"), "--placement-affinity") };
  for (const word of words) {
    const [key, value] = word.split("=", 2);
    if (word === "soft") affinity = { ...affinity, soft: true };
    else if (key === "topology" && value !== undefined) affinity = { ...affinity, topology: value };
    else throw wrongAffinity(text);
  }
  return affinity;
}

function wrongAffinity(text: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `--placement-affinity ${text}: use ${affinityForm}`);
}

/** `app=web` each; whether they are labels is up to the node. @throws INVALID_ARGUMENT */
export function parseLabels(given: readonly string[], what: string): Labels {
  const pairs = given.map((text): [string, string] => {
    const at = text.indexOf("=");
    if (at <= 0) throw new BlixardError("INVALID_ARGUMENT", `${what} ${text}: use KEY=VALUE`);
    return [text.slice(0, at), text.slice(at + 1)];
  });
  return Object.fromEntries(pairs);
}

/** Whether what has these labels is chosen by all of the selectors. */
export function isSelected({ labels }: { readonly labels?: Labels }, selectors: readonly string[] = []): boolean {
  return selectors.every((selector) => selects(selector, labels));
}

/** Null for what has none. */
export function labelsShown({ labels }: { readonly labels?: Labels }): string | null {
  return labelsText(labels) || null;
}

/** What the scheduler says of each node. */
export function verdictTable(nodes: readonly NodeVerdict[]): string {
  const rows = nodes.map((node) =>
    node.fits
      ? [
          String(node.nodeId),
          String(node.score),
          node.points.map((each) => `${each.criterion} ${each.points}`).join(", "),
        ]
      : [String(node.nodeId), "-", node.reason],
  );
  return formatTable(["NODE", "POINTS", "FOR, OR WHY NOT"], rows);
}

/** A line for each wish of a VM about its place. */
export function placementLines({ labels, spec: { placement } }: VmRecord): string[] {
  const { constraints = [], affinity = [], spread, priority, preemptible } = placement ?? {};
  return [
    ...(labels === undefined ? [] : [`labels     ${labelsText(labels)}`]),
    ...constraints.map((selector) => `constraint ${selector}`),
    ...affinity.map((rule) => `affinity   ${affinityText(rule)}`),
    ...(spread === undefined ? [] : [`spread     over ${spread}`]),
    ...(priority === undefined ? [] : [`priority   ${priority}`]),
    ...(preemptible === true ? ["preemptible"] : []),
  ];
}

function affinityText({ type, vms, topology, soft }: VmAffinity): string {
  const where = topology === undefined ? "" : `, by ${topology}`;
  return `${type === "near" ? "near to" : "apart from"} ${labelsText(vms)}${where}${soft === true ? ", as a wish" : ""}`;
}
