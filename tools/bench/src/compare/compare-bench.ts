/**
 * `npm run bench -- compare REV [flags of versus but --etcd]`: another commit beside the files as they are, in alternating
 * rounds of the same load. REV is built in a worktree that is removed at the end.
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { publish, publishFlags } from "../page/publish.ts";
import { circumstances, type PairRecord } from "../pairs/pair-record.ts";
import { lostOf, tableOfPairs } from "../pairs/pair-table.ts";
import { runPairs } from "../pairs/run-pairs.ts";
import { estimateSeconds, pairOptions, shapeFlags } from "../pairs/shapes.ts";
import { unbundledBinary as binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { type BuiltCommit, buildCommit } from "./worktree.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

export async function runCompareBench(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...shapeFlags, ...publishFlags },
  });
  // A build comes on top of the rounds, so a smoke has fewer of them.
  const options = pairOptions(values.smoke === true ? { load: "put", ...values } : values);
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const [revision, ...more] = positionals;
  if (revision === undefined || more.length > 0) {
    say("compare takes one revision, for example: npm run bench -- compare HEAD~1");
    process.exitCode = 64;
    return;
  }
  const about = circumstances();
  let other: BuiltCommit;
  try {
    other = await buildCommit(root, revision, say);
  } catch (error) {
    say(`${revision} cannot be measured: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 65;
    return;
  }
  try {
    const [base, head] = [other.shortHash, "here"];
    say(`${base} beside ${about.commit}: about ${Math.ceil(estimateSeconds(options) / 60)} minutes`);
    const start = (name: string, of: string) => (setting: { readonly nodes: number; readonly transport: string }) =>
      startBlixard({ name, binary: of, ...setting, onProgress: say });
    const { settings: _settings, shapes: _shapes, ...kept } = options;
    const record: PairRecord = {
      ...{ format: 1, kind: "compare", base, head, circumstances: about, options: kept },
      settings: await runPairs({ base: start(base, other.binary), head: start(head, binary) }, options, say),
    };
    publish(record, tableOfPairs(record), values);
    if (lostOf(record) > 0) process.exitCode = 1;
  } finally {
    other.remove();
  }
}
