import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Watch } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { afterAll, afterEach, describe, expect, it } from "@jest/globals";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { QmpClient, type QmpEvent } from "./qmp-client.ts";

afterAll(removeTemporaryDirectories);

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) server.close();
});

const greeting = '{"QMP": {"version": {}, "capabilities": []}}\n';

/** A server that greets, agrees to the negotiation and answers other commands with `answer`. */
async function serve(answer: (command: string, id: number) => string, first = greeting): Promise<string> {
  const path = join(await temporaryDirectory(), "s");
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write(first);
    socket.on("data", (data: Buffer) => {
      const { execute, id } = JSON.parse(data.toString()) as { execute: string; id: number };
      if (execute === "qmp_capabilities") socket.write(`{"return": {}, "id": ${id}}\n`);
      else if (execute === "drop") socket.destroy();
      else socket.write(answer(execute, id));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return path;
}

async function connect(path: string) {
  const events: QmpEvent[] = [];
  const closed = new Watch(false);
  const client = await QmpClient.connect({
    clock: systemClock,
    path,
    onEvent: (event) => events.push(event),
    onClose: () => closed.set(true),
  });
  return { client, events, closed };
}

describe("QmpClient", () => {
  it("answers each command, and hands over the events between", async () => {
    const path = await serve(
      (command, id) => `{"event": "STOP", "data": {"at": 1}}\n{"return": {"status": "${command}"}, "id": ${id}}\n`,
    );
    const { client, events } = await connect(path);
    expect(await client.execute("query-status")).toEqual({ status: "query-status" });
    expect(events).toEqual([{ event: "STOP", data: { at: 1 } }]);
    client.close();
  });

  it("rejects a command that is refused, with the reason", async () => {
    const path = await serve((_, id) => `{"error": {"class": "GenericError", "desc": "not now"}, "id": ${id}}\n`);
    const { client } = await connect(path);
    await expect(client.execute("cont")).rejects.toMatchObject({
      code: "VM_DRIVER_FAILED",
      message: expect.stringContaining("not now"),
    });
    client.close();
  });

  it("rejects what waits when the connection ends, and says that it ended", async () => {
    const { client, closed } = await connect(await serve(() => ""));
    await expect(client.execute("drop")).rejects.toMatchObject({ code: "VM_DRIVER_FAILED", outcome: "unknown" });
    expect(closed.value).toBe(true);
    await expect(client.execute("cont")).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
  });

  it("does not wait for ever for a greeting: another client may hold the socket", async () => {
    await expect(connect(await serve(() => "", ""))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
  });

  it("closes a connection that sends something else than JSON", async () => {
    await expect(connect(await serve(() => "", "hello\n"))).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
  });

  it("rejects when there is no socket", async () => {
    await expect(connect(join(await temporaryDirectory(), "none"))).rejects.toMatchObject({ code: "VM_DRIVER_FAILED" });
  });
});
