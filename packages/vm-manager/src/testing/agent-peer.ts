/** A guest that speaks as an agent does, or as it likes, at a unix socket. */
import { createServer, type Server, type Socket } from "node:net";

export type AgentAsked = { readonly execute: string; readonly arguments: Readonly<Record<string, unknown>> };
export type AgentGuest = (socket: Socket, asked: AgentAsked) => void;

export const agentLine = (value: unknown) => `${JSON.stringify(value)}\n`;
export const agentSynced = (asked: AgentAsked) =>
  Buffer.concat([Buffer.from([0xff]), Buffer.from(agentLine({ return: asked.arguments["id"] }))]);

/** One that keeps to the rules, and answers what it is told to, or nothing in particular. */
export function honestGuest(answerOf: (asked: AgentAsked) => unknown): AgentGuest {
  return (socket, asked) => {
    if (asked.execute === "guest-sync-delimited") socket.write(agentSynced(asked));
    else socket.write(agentLine({ return: answerOf(asked) ?? {} }));
  };
}

/** Listens until it is closed. `guestOf` is asked for each command. */
export async function openAgentPeer(
  path: string,
  guestOf: () => AgentGuest,
  onConnection: () => void = () => {},
): Promise<Server> {
  const server = createServer((socket) => {
    onConnection();
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1").replaceAll("\u00ff", "");
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        guestOf()(socket, JSON.parse(text.slice(0, end)));
        text = text.slice(end + 1);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return server;
}
