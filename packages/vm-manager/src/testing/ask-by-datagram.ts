import { createSocket } from "node:dgram";
import { once } from "node:events";
import { withDeadline } from "@blixard/common";
import { systemClock } from "@blixard/common/system";

const againMs = 200;
const timeoutMs = 60_000;

/** Says it to a port of UDP on loopback until something comes back. */
export async function askByDatagram(port: number, text: string): Promise<string> {
  const socket = createSocket("udp4");
  try {
    const answered = once(socket, "message");
    const asking = setInterval(() => socket.send(text, port, "127.0.0.1"), againMs);
    const limit = { clock: systemClock, timeoutMs, what: "an answer of the guest" };
    const [content] = await withDeadline(limit, () => answered).finally(() => clearInterval(asking));
    return String(content);
  } finally {
    socket.close();
  }
}
