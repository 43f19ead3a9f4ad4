/** What can happen to the node of a VM, as the table of `docs/failure.md` has it. */
import { readFileSync } from "node:fs";
import { instanceProcesses, type ProcessCluster, watchdogProcesses } from "@blixard/testing";

/** The processes of a node that has a VM which moves. */
export interface LostNode {
  readonly cluster: ProcessCluster;
  readonly nodeId: number;
  readonly vmId: string;
}

export interface Fault {
  readonly name: string;
  readonly begin: (of: LostNode) => void;
  /** Lets go on what stands still: once the VM runs again, or after `frozenMs`. */
  readonly thaw?: (of: LostNode) => void;
  /**
   * The machine sleeps for so long. Another copy may run by the time it wakes up, and no rule keeps the old one from running on
   * until somebody has looked. How long that takes is what is measured; on one machine a second copy is not started, because a
   * node sees that a process of the VM is there.
   */
  readonly frozenMs?: number;
}

const watchdogs = ({ cluster, nodeId }: LostNode) => watchdogProcesses(cluster.node(nodeId).dataDir);
const guards = (of: LostNode) => watchdogs(of).flatMap(childrenOf).filter(isGuard);
const node = ({ cluster, nodeId }: LostNode) => [cluster.node(nodeId).ready.pid];
const vm = ({ vmId }: LostNode) => instanceProcesses(vmId);

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended with another one.
    }
  }
}

export const faults: readonly Fault[] = [
  { name: "node killed", begin: (of) => signalAll(node(of), "SIGKILL") },
  { name: "node standing still", ...frozen(node) },
  { name: "watchdog killed", begin: (of) => signalAll(watchdogs(of), "SIGKILL") },
  { name: "watchdog stopped", ...frozen(watchdogs) },
  { name: "node and watchdog killed", begin: (of) => signalAll([...node(of), ...watchdogs(of)], "SIGKILL") },
  { name: "node and watchdog stopped", ...frozen((of) => [...node(of), ...watchdogs(of)]) },
  {
    name: "machine without power",
    begin: (of) => signalAll([...node(of), ...guards(of), ...watchdogs(of), ...vm(of)], "SIGKILL"),
  },
  {
    name: "machine frozen, and awake after the lease",
    // The VM is the first that runs on: the worst order.
    ...frozen((of) => [...vm(of), ...guards(of), ...watchdogs(of), ...node(of)]),
    frozenMs: 25_000,
  },
];

/** The same processes stand still and go on. */
function frozen(of: (lost: LostNode) => readonly number[]): Pick<Fault, "begin" | "thaw"> {
  let pids: readonly number[] = [];
  return {
    begin: (lost) => {
      pids = of(lost);
      signalAll(pids.toReversed(), "SIGSTOP");
    },
    thaw: () => signalAll(pids, "SIGCONT"),
  };
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

function isGuard(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes("blixard-guard");
  } catch {
    return false;
  }
}
