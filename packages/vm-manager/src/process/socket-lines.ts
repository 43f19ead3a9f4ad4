import type { Socket } from "node:net";
import { createInterface } from "node:readline";

/** Calls `take` with each line that comes in. A socket that breaks is closed, and ends nothing else. */
export function takeLines(socket: Socket, take: (line: string) => void): void {
  socket.on("error", () => socket.destroy());
  const lines = createInterface({ input: socket });
  // It repeats the errors of its input, which would end the process when nobody hears them.
  lines.on("error", () => {});
  lines.on("line", take);
}
