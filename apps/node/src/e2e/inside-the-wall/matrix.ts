/** The tables of this folder as they stand in `docs/security-model.md`. */
import { raftWall } from "@blixard/cluster/testing";
import { type Cell, callWall, claimWall, letters, roles, wayNames, ways } from "./call-wall.ts";

const letterOf = (cell: Cell) => Object.entries(letters).find(([, code]) => code === cell)?.[0] ?? "?";
const lettersOf = (cells: readonly Cell[]) => `\`${cells.map(letterOf).join("")}\``;
const row = (columns: readonly string[]) => `| ${columns.join(" | ")} |`;

function table(head: readonly string[], lines: readonly (readonly string[])[]): string {
  return [row(head), row(head.map(() => "---")), ...lines.map(row)].join("\n");
}

export function matrix(): string {
  const codes = Object.entries(letters).map(([letter, code]) => `\`${letter}\` ${code}`);
  const calls = [...callWall].map(([name, { cells, person }]) => [
    `\`${name}\``,
    ...wayNames.map((way) => lettersOf(cells[way])),
    lettersOf(person),
  ]);
  const claims = [...claimWall].map(([what, { own, passed }]) => [what, lettersOf(own), lettersOf(passed)]);
  const senders = ["voter", "witness", "learner", "worker", "removed", "unknown"] as const;
  const messages = Object.entries(raftWall).map(([type, taken]) => [
    `\`${type}\``,
    ...senders.map((sender) => (taken.includes(sender) ? "+" : "")),
  ]);
  const meaning = wayNames.map((way) => `- ${way}: ${ways[way]}`);
  return [
    `A letter for each key, in this order: ${roles.join(", ")}. ${codes.join(", ")}.`,
    [...meaning, "- person: an administrator's key that asks a witness, a learner and a worker"].join("\n"),
    table(["asked of a voter", ...wayNames, "person"], calls),
    "What a member says of another one:",
    table(["claim", "own", "passed"], claims),
    "What is taken on the Raft lane (`+`):",
    table(["type", ...senders], messages),
  ].join("\n\n");
}
