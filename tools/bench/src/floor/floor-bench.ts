/**
 * `npm run bench -- floor [flags of versus but --etcd, --load and --where]`: puts beside the least that they can cost with the parts
 * that we build on (`floor-node.ts`), in alternating rounds of the same load.
 */
import { parseArgs } from "node:util";
import { publish, publishFlags } from "../page/publish.ts";
import { circumstances, type PairRecord } from "../pairs/pair-record.ts";
import { tableOfPairs } from "../pairs/pair-table.ts";
import { runPairs } from "../pairs/run-pairs.ts";
import { estimateSeconds, pairOptions, shapeFlags } from "../pairs/shapes.ts";
import { binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { startFloor } from "./floor-side.ts";

export async function runFloorBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { ...shapeFlags, ...publishFlags } });
  const options = pairOptions({ ...values, load: "put" });
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const about = circumstances();
  say(`the floor beside commit ${about.commit}: about ${Math.ceil(estimateSeconds(options) / 60)} minutes`);
  const { settings: _settings, shapes: _shapes, ...kept } = options;
  const record: PairRecord = {
    ...{ format: 1, kind: "floor", base: "floor", head: "blixard", circumstances: about, options: kept },
    settings: await runPairs(
      {
        base: ({ nodes }) => startFloor({ nodes }),
        head: ({ nodes, transport }) => startBlixard({ binary, nodes, transport, onProgress: say }),
      },
      options,
      say,
    ),
  };
  publish(record, tableOfPairs(record), values);
}
