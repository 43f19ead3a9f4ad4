/** The option of `vm create` for the health checks of a VM, which may be given several times. */
import { BlixardError } from "@blixard/common";
import { parseDurationMs, parseInteger } from "../quantities.ts";

const option = "--health";
const forms = 'tcp:PORT, http:PORT[/PATH], console:TEXT, agent or "exec:PROGRAM ARGUMENTS"';

/** How short it may be, the node says. */
const timeOf = (value: string) => parseDurationMs(value, { minMs: 0 });

/** What may follow, separated by commas. */
const settings: Readonly<Record<string, (value: string) => readonly [string, unknown]>> = {
  interval: (value) => ["intervalMs", timeOf(value)],
  timeout: (value) => ["timeoutMs", timeOf(value)],
  failures: (value) => ["failuresMax", parseInteger(value, option, 1)],
  grace: (value) => ["graceMs", timeOf(value)],
  recovery: (value) => ["recovery", value],
};

/** `http:80/ready,interval=5s,failures=3`: whether it fits is up to the node. @throws INVALID_ARGUMENT */
export function parseHealth(given: readonly string[]): Record<string, unknown>[] {
  return given.map((text) => {
    const [what = "", ...more] = text.split(",");
    const timing = more.map((part) => {
      const at = part.indexOf("=");
      const read = settings[part.slice(0, at)];
      if (at < 0 || read === undefined) {
        throw wrong(text, `${part} is unknown; known are ${Object.keys(settings).join(", ")}`);
      }
      return read(part.slice(at + 1));
    });
    return { ...readCheck(what, text), ...Object.fromEntries(timing) };
  });
}

function readCheck(what: string, text: string): Record<string, unknown> {
  if (what === "agent") return { type: what };
  const at = what.indexOf(":");
  const [type, rest] = [what.slice(0, at), what.slice(at + 1)];
  if (at < 0 || rest === "") throw wrong(text, `use ${forms}`);
  if (type === "console") return { type, text: rest };
  if (type === "exec") return { type, argv: rest.split(" ").filter((word) => word !== "") };
  if (type === "tcp") return { type, port: parseInteger(rest, option, 1) };
  if (type !== "http") throw wrong(text, `use ${forms}`);
  const slash = rest.indexOf("/");
  const port = parseInteger(slash < 0 ? rest : rest.slice(0, slash), option, 1);
  return { type, port, ...(slash < 0 ? {} : { path: rest.slice(slash) }) };
}

function wrong(text: string, why: string): BlixardError {
  return new BlixardError("INVALID_ARGUMENT", `${option} ${text}: ${why}`);
}
