/** The control socket of a VM host process: the part of QMP that the VM manager uses, one client at a time. */
import type { Socket } from "node:net";
import { messageOf } from "@blixard/common";
import { parseQmpLine } from "../process/qmp-client.ts";
import { OneClientServer } from "./one-client-server.ts";

const commands = ["query-status", "query-uuid", "query-name", "stop", "cont", "system_powerdown", "quit"] as const;

export type ControlCommand = (typeof commands)[number];
const lineBytesMax = 64 * 1024;

export class ControlServer {
  readonly #execute: (command: ControlCommand) => Promise<unknown>;
  readonly #server: OneClientServer;

  constructor(execute: (command: ControlCommand) => Promise<unknown>) {
    this.#execute = execute;
    this.#server = new OneClientServer((socket) => this.#serve(socket));
  }

  async listen(descriptor: number): Promise<void> {
    await this.#server.listen(descriptor);
  }

  /** Sends an event to the client, if there is one; who is not connected reads the journal. */
  send(line: string): void {
    this.#server.client?.write(line);
  }

  close(): void {
    this.#server.close();
  }

  #serve(socket: Socket): void {
    let buffered = "";
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      buffered += text;
      const lines = buffered.split("\n");
      buffered = lines.pop() ?? "";
      if (buffered.length > lineBytesMax) socket.destroy();
      for (const line of lines) if (line.trim() !== "") void this.#answer(socket, line);
    });
    socket.write(`${JSON.stringify({ QMP: { version: { blixard: 1 }, capabilities: [] } })}\n`);
  }

  async #answer(socket: Socket, line: string): Promise<void> {
    const message = parseQmpLine(line);
    if (message === undefined) return void socket.destroy();
    const { execute, id } = message;
    const reply = (body: object) => void socket.write(`${JSON.stringify({ ...body, id })}\n`);
    if (execute === "qmp_capabilities") return reply({ return: {} });
    if (typeof execute !== "string" || !commands.some((name) => name === execute)) {
      return reply({ error: { class: "CommandNotFound", desc: `unknown command ${String(execute)}` } });
    }
    try {
      reply({ return: (await this.#execute(execute as ControlCommand)) ?? {} });
    } catch (error) {
      reply({ error: { class: "GenericError", desc: messageOf(error) } });
    }
  }
}
