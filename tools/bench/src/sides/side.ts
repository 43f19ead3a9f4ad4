/** One of the two clusters that are measured beside each other. Nodes are told by their place, from 0. */
import type { Dialect, Endpoint } from "../load/dialect.ts";

export interface Side {
  /** As tables call it. */
  readonly name: string;
  readonly dialect: Dialect;
  /** Whether its nodes find again what they have written. */
  readonly recovers: boolean;
  /** Where each node takes requests. */
  readonly endpoints: readonly Endpoint[];
  /** Of the processes as they run now. */
  pids(): readonly number[];
  /** Writes through one node. Rejects when the write was not acknowledged. */
  put(node: number, key: string, value: string): Promise<void>;
  /** A page of the keys that begin with `prefix`, in order, after the key `after`. Linearizable. */
  list(prefix: string, after: string): Promise<ListedPage>;
  /** The place of the node that leads; waits until one does. */
  leader(): Promise<number>;
  /** The highest term that a running node knows. */
  term(): Promise<number>;
  /** What a node counts, as text of Prometheus. */
  metrics(node: number): Promise<string>;
  /** Bytes that the nodes sent each other since they were started. */
  wireBytes(): Promise<number>;
  /** With SIGKILL; its data stays. */
  kill(node: number): Promise<void>;
  /** Starts nodes that were killed on their data, and waits until a write through each of them is acknowledged. */
  restart(nodes: readonly number[]): Promise<void>;
  /** What the nodes complained about, counted. */
  notes(): readonly string[];
  /** Ends the processes and removes their data. */
  close(): Promise<void>;
}

export interface ListedPage {
  readonly entries: readonly (readonly [key: string, value: string])[];
  /** The key to go on after; absent at the end. */
  readonly next?: string;
}

export interface SideOptions {
  readonly nodes: number;
  readonly onProgress?: (text: string) => void;
}

/** So long a cluster may take until a write through each of its nodes is acknowledged. */
const readyTimeoutMs = 120_000;
const pauseMs = 100;

/** Tries again until a write through each of these nodes is acknowledged. */
export async function untilWritable(side: Pick<Side, "put" | "name">, nodes: readonly number[]): Promise<void> {
  const endMs = performance.now() + readyTimeoutMs;
  for (const node of nodes) {
    for (;;) {
      try {
        await side.put(node, "ready", "yes");
        break;
      } catch (error) {
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }
  }
}
