/**
 * `npm run bench -- versus [failover|idle|starved] [--load put,get,mix] [--clients 1,64] [--value 100] [--where all,leader,followers]
 * [--transport iroh,grpc,dual] [--nodes 1,3,5] [--rounds 5] [--seconds 5] [--warm-up 25] [--keys 10] [--unique-keys] [--seed 1] [--full]
 * [--smoke] [--etcd PATH] [--json] [--out FILE] [--write-docs]`: the cluster beside etcd, in alternating rounds of the same load
 * over etcd's JSON gateway and our HTTP API. A comma between values crosses them; any failed request voids a round; at
 * the end all processes of both sides are killed and every acknowledged write is read back.
 */
import { parseArgs } from "node:util";
import { publish, publishFlags } from "../page/publish.ts";
import { circumstances, type PairRecord } from "../pairs/pair-record.ts";
import { lostOf, tableOfPairs } from "../pairs/pair-table.ts";
import { runPairs } from "../pairs/run-pairs.ts";
import { estimateSeconds, pairOptions, shapeFlags } from "../pairs/shapes.ts";
import { binary } from "../sides/binary.ts";
import { startBlixard } from "../sides/blixard-side.ts";
import { etcdMissing, etcdVersion, startEtcd } from "../sides/etcd-side.ts";
import { runFailoverBench } from "./failover-bench.ts";
import { runIdleBench } from "./idle-bench.ts";
import { runStarvedBench } from "./starved-bench.ts";

const others: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  failover: runFailoverBench,
  idle: runIdleBench,
  starved: runStarvedBench,
};

export async function runVersusBench(args: readonly string[]): Promise<void> {
  const [first = "", ...rest] = args;
  const other = others[first];
  if (other !== undefined) return await other(rest);
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...shapeFlags,
      etcd: { type: "string", default: "etcd" },
      ...publishFlags,
    },
  });
  const options = pairOptions(values);
  const say = (text: string) => process.stderr.write(`bench: ${text}\n`);
  const version = etcdVersion(values.etcd);
  if (version === undefined) {
    say(etcdMissing(values.etcd));
    process.exitCode = 69;
    return;
  }
  const about = circumstances();
  say(`etcd ${version} beside commit ${about.commit}: about ${Math.ceil(estimateSeconds(options) / 60)} minutes`);
  const { settings: _settings, shapes: _shapes, ...kept } = options;
  const record: PairRecord = {
    ...{ format: 1, kind: "versus", base: "etcd", head: "blixard", circumstances: about, options: kept },
    settings: await runPairs(
      {
        base: ({ nodes }) => startEtcd({ binary: values.etcd, nodes, onProgress: say }),
        head: ({ nodes, transport }) => startBlixard({ binary, nodes, transport, onProgress: say }),
      },
      options,
      say,
    ),
  };
  publish(record, tableOfPairs(record), values);
  if (lostOf(record) > 0) process.exitCode = 1;
}
