/** Each class has a stream of its own, so that a heartbeat never stands behind an append, nor that behind bulk. */
export type StreamClass = "urgent" | "normal" | "bulk";
export const streamClasses = ["urgent", "normal", "bulk"] as const satisfies readonly StreamClass[];
