/**
 * A TCP connection to a port of a VM as a websocket at `/v1/vms/{name}/ports/{port}`, with `?network=NAME` for another network than
 * `user`: binary messages are what comes, both ways, and the text `end` says that no more does. One that closes before both sides have said so is a connection that broke. Neither side
 * is read further than the other one takes.
 */
import { BlixardError, PieceQueue } from "@blixard/common";
import { forwardEnd, nodeRoutes } from "@blixard/protocol";
import { httpLimits } from "./http-types.ts";
import type { SocketKind } from "./socket-kind.ts";
import { bytesOf, pathPattern, send } from "./socket-messages.ts";

const inputPieceBytesMax = 32 * 1024;

export const forwardSocket: SocketKind = {
  stream: "vm.forward",
  path: pathPattern(nodeRoutes.forward.path),
  subprotocol: "blixard.forward",
  sessionsMax: httpLimits.forwardsMax,
  gauge: "forwards",
  async open([name = "", port = ""], query, stream) {
    const input = new PieceQueue(inputPieceBytesMax);
    let resume = () => {};
    const network = query.get("network");
    const request = { name, port: portOf(port), ...(network === null ? {} : { network }) };
    const output = await stream(
      "vm.forward",
      request,
      input.pieces(() => resume()),
    );
    return {
      end: () => input.end(),
      async run(webSocket) {
        resume = () => webSocket.resume();
        webSocket.on("message", (data, isBinary) => {
          if (isBinary) {
            input.push(bytesOf(data));
            webSocket.pause();
          } else if (String(data) === forwardEnd) input.end();
          else webSocket.close(1003, "only bytes, and their end");
        });
        for await (const { data, ended } of output) {
          if (data.length > 0) await send(webSocket, data);
          if (ended) await send(webSocket, forwardEnd);
        }
        // What the other side says to that is read.
        webSocket.resume();
        webSocket.close(1000);
      },
    };
  },
};

function portOf(text: string): number {
  if (/^\d{1,5}$/.test(text)) return Number(text);
  throw new BlixardError("INVALID_ARGUMENT", `"${text}" is no port`);
}
