/** What is measured while it has too little of the processor. */
export interface Side {
  readonly pids: readonly number[];
  /** Writes through the node at this place, from 0. Rejects when the write was not acknowledged. */
  put(node: number, key: string, value: string): Promise<void>;
  /** The highest term that a node knows. */
  term(): Promise<number>;
  /** What the nodes complained about, counted. */
  notes(): readonly string[];
  close(): Promise<void>;
}
