/** `npm run bench -- [cluster|raft|raft-snapshot|reconnects|transport|bulk|flood|floor|bad-member|starved|switch|versus|vm|vm-loss|compare|profile|write-docs] [flags]`; without a name it measures the whole cluster. */
import { runBadMemberBench } from "./bad-member/bad-member-bench.ts";
import { runBadMember } from "./bad-member/bad-member-process.ts";
import { runBulkBench } from "./bulk/bulk-bench.ts";
import { serveSource } from "./bulk/source-process.ts";
import { runClusterBench } from "./cluster/cluster-bench.ts";
import { runCompareBench } from "./compare/compare-bench.ts";
import { runFlood } from "./flood/flood.ts";
import { runFloorBench } from "./floor/floor-bench.ts";
import { runFloorProcess } from "./floor/floor-side.ts";
import { runLoadProcess } from "./load/load-process.ts";
import { runWriteDocs } from "./page/write-docs.ts";
import { endWholeOnSignals } from "./proc/endings.ts";
import { runProfileBench } from "./profile/profile-bench.ts";
import { runMemorySnapshotStall } from "./raft/memory-snapshot-stall.ts";
import { runRaftBench } from "./raft/raft-bench.ts";
import { reportRestart } from "./raft/restart.ts";
import { runSwitchBench, runSwitchFlood } from "./switch/switch-bench.ts";
import { runTransportPeer } from "./transport/peer-process.ts";
import { runReconnects } from "./transport/reconnects.ts";
import { runTransportBench } from "./transport/transport-bench.ts";
import { runStarvedBench } from "./versus/starved-bench.ts";
import { runVersusBench } from "./versus/versus-bench.ts";
import { runVmBench } from "./vm/vm-bench.ts";
import { runVmLossBench } from "./vm-loss/vm-loss-bench.ts";

const benchmarks: Readonly<Record<string, (args: readonly string[]) => Promise<void>>> = {
  "bad-member": runBadMemberBench,
  /** The other process of `bad-member`. */
  "bad-member-process": runBadMember,
  bulk: runBulkBench,
  /** The other process of `bulk`. */
  "bulk-source": serveSource,
  cluster: runClusterBench,
  compare: runCompareBench,
  flood: runFlood,
  floor: runFloorBench,
  /** A node of `floor`. */
  "floor-process": runFloorProcess,
  /** The other process of whatever loads over HTTP. */
  "load-process": runLoadProcess,
  profile: runProfileBench,
  raft: runRaftBench,
  /** A part of `raft` that needs a process of its own. */
  "raft-restart": reportRestart,
  "raft-snapshot": runMemorySnapshotStall,
  reconnects: runReconnects,
  starved: runStarvedBench,
  switch: runSwitchBench,
  /** The other process of `switch`. */
  "switch-flood": runSwitchFlood,
  transport: runTransportBench,
  /** The other process of `transport`. */
  "transport-peer": runTransportPeer,
  versus: runVersusBench,
  vm: runVmBench,
  "vm-loss": runVmLossBench,
  /** Needs no measurement: the records lie beside the page. */
  "write-docs": runWriteDocs,
};

endWholeOnSignals();
const [first = "cluster", ...rest] = process.argv.slice(2);
const args = first.startsWith("-") ? [first, ...rest] : rest;
const run = benchmarks[first.startsWith("-") ? "cluster" : first];
if (run === undefined) {
  refuse(
    `unknown benchmark '${first}': use cluster, raft, raft-snapshot, reconnects, transport, bulk, flood, floor, bad-member, starved, switch, versus, vm, vm-loss, compare, profile or write-docs`,
  );
} else {
  try {
    await run(args);
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (!code.startsWith("ERR_PARSE_ARGS_")) throw error;
    refuse(`${message} (the options of each stand at the head of its file in tools/bench/src)`);
  }
}

function refuse(why: string): void {
  process.stderr.write(`bench: ${why}\n`);
  process.exitCode = 64;
}
