/** Each class has a stream of its own, so that no heartbeat waits for an append, and no append for bulk data. */
export type StreamClass = "urgent" | "normal" | "bulk";
export const streamClasses = ["urgent", "normal", "bulk"] as const satisfies readonly StreamClass[];
