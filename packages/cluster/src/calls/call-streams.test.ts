import { fromUtf8, toUtf8, Watch } from "@blixard/common";
import {
  type CallMeta,
  decodeServiceResponse,
  encodeServiceCall,
  encodeServiceResponse,
  forwardRpcMethod,
} from "@blixard/protocol";
import { afterEach, beforeEach, describe, expect, it } from "@jest/globals";
import type { ClusterTransport } from "../ports/cluster-transport.ts";
import { ClusterGroup, until } from "../testing/cluster-group.ts";
import { endpointIdOf } from "../testing/memory-cluster-network.ts";

let group: ClusterGroup;
let over: AbortController;
beforeEach(() => {
  group = new ClusterGroup();
  over = new AbortController();
});
afterEach(async () => {
  over.abort();
  await group.close();
});

const spec = { vcpus: 1, memoryMiB: 64, image: "demo" };
const nodeOne = { endpointId: endpointIdOf(1), addresses: ["127.0.0.1:7001"] };

const outsider = (id: number) => group.network.join(id, endpointIdOf(id)).transport;

/** A person's machine whose key got the rights of a ticket, and the id of its token. */
async function guest(id: number, role: "operator" | "viewer") {
  const transport = outsider(id);
  const request = { ticket: group.shown(await group.ticket({ role }), id), endpointId: endpointIdOf(id) };
  const payload = encodeServiceCall({ name: "token.redeem", request, meta: group.meta() });
  const bytes = await transport.call(nodeOne, "token.redeem", payload, { timeoutMs: 5_000 });
  return { transport, tokenId: (decodeServiceResponse(bytes) as { id: string }).id };
}

function open(transport: ClusterTransport, method: string, name: string, meta: Partial<CallMeta> = {}) {
  const request = { name: "web", offset: 0 };
  const payload = encodeServiceCall({ name, request, meta: group.meta(meta) });
  if (transport.stream === undefined) throw new Error("no streams");
  return transport.stream(nodeOne, method, payload, { timeoutMs: 5_000, signal: over.signal });
}

async function* typed(texts: readonly string[]): AsyncIterable<Uint8Array> {
  for (const text of texts) yield fromUtf8(text);
}

describe("CallRouter.stream", () => {
  it("carries a console from any node to the one that runs the VM, and says when all input was given to it", async () => {
    await group.form(3);
    const { vm } = await group.call(1, "vm.create", { name: "web", spec });
    const owner = vm.node ?? 0;
    await until(() => group.machine(owner).vmManager.desired?.length === 1);
    for (const [at, id] of [1, 2, 3].entries()) {
      const scope = { signal: over.signal, input: typed(["a", "b"]) };
      const output = await group.node(id).stream("vm.console", { name: "web", offset: 0 }, group.meta(), scope);
      let text = "";
      for await (const piece of output) {
        text += toUtf8(piece.data);
        if (piece.inputEnded) break;
      }
      // What was written before the last look may come with it or after it; it is in the output of the next reader.
      expect("ababab".startsWith(text)).toBe(true);
      const read = await group.call(id, "vm.consoleRead", { name: "web", offset: 0 });
      expect(toUtf8(read.data)).toBe("ab".repeat(at + 1));
    }
  });

  it("lets a viewer follow the output, and nobody else than an administrator write", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    const viewer = await guest(8, "viewer");
    const output = (await open(viewer.transport, "vm.logs", "vm.logs"))[Symbol.asyncIterator]();
    const next = output.next();
    await group.call(1, "vm.consoleWrite", { name: "web", data: fromUtf8("up") });
    expect(decodeServiceResponse((await next).value)).toEqual({ offset: 0, data: fromUtf8("up") });
    const claims = { access: "admin", actor: { kind: "token", id: "admin" } } as const;
    await expect(open(viewer.transport, "vm.console", "vm.console", claims)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await expect(open(viewer.transport, forwardRpcMethod, "vm.console", claims)).rejects.toMatchObject({
      code: "UNKNOWN_PEER",
    });
    await expect(open(outsider(9), "vm.logs", "vm.logs", claims)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    await expect(open(viewer.transport, "vm.get", "vm.get")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it.each(["worker", "learner", "witness", "voter"] as const)("opens no console with the key of a %s", async (role) => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    await group.join(4, await group.ticket({ role }));
    const { transport } = group.machine(4);
    if (transport === undefined) throw new Error("node 4 has not started");
    const own = { access: "node", actor: { kind: "node", id: "4" } } as const;
    for (const method of ["vm.logs", forwardRpcMethod]) {
      await expect(open(transport, method, "vm.logs", own)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
  });

  it("ends a stream when its key is revoked", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    const { transport, tokenId } = await guest(8, "operator");
    const output = (await open(transport, "vm.console", "vm.console"))[Symbol.asyncIterator]();
    // All of no input was given to the VM.
    expect(decodeServiceResponse((await output.next()).value)).toMatchObject({ inputEnded: true });
    const ended = output.next();
    await group.call(1, "token.revoke", { id: tokenId });
    await expect(ended).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  });

  it("watches keys on any node: those that are there, and what becomes of them", async () => {
    await group.form(3);
    for (const key of ["a/2", "a/1", "b/1"]) await group.call(1, "kv.put", { key, value: "v" });
    const follower = [1, 2, 3].find((id) => id !== group.leaderId()) ?? 0;
    const scope = { signal: over.signal };
    const changes = await group.node(follower).stream("kv.watch", { prefix: "a/" }, group.meta(), scope);
    const seen: string[] = [];
    const steps = [
      () => group.call(1, "kv.put", { key: "a/1", value: "w" }),
      () =>
        group
          .call(2, "kv.put", { key: "b/1", value: "elsewhere" })
          .then(() => group.call(3, "kv.delete", { key: "a/2" })),
    ];
    for await (const change of changes) {
      if (change.type === "put") seen.push(`${change.entry.key}=${change.entry.value}`);
      else seen.push(change.type === "delete" ? `-${change.key}` : change.type);
      if (seen.length >= 3 && seen.length < 5) await steps[seen.length - 3]?.();
      if (seen.length === 5) break;
    }
    expect(seen).toEqual(["a/2=v", "a/1=v", "current", "a/1=w", "-a/2"]);
  });

  it("watches a VM on any node, and ends where a node is cut off from its leader", async () => {
    await group.form(3);
    const follower = [1, 2, 3].find((id) => id !== group.leaderId()) ?? 0;
    const scope = { signal: over.signal };
    const watch = (meta: Partial<CallMeta> = {}) =>
      group.node(follower).stream("vm.watch", { name: "web" }, group.meta(meta), scope);
    const changes = (await watch())[Symbol.asyncIterator]();
    expect(await changes.next()).toMatchObject({ value: { type: "current" } });
    const created = changes.next();
    await group.call(1, "vm.create", { name: "web", spec });
    expect(await created).toMatchObject({ value: { type: "put", vm: { name: "web" } } });
    const stale = (await watch({ stale: true }))[Symbol.asyncIterator]();
    group.network.cut(follower, true);
    const rest = (async () => {
      for (;;) await changes.next();
    })();
    await expect(rest).rejects.toMatchObject({ code: "NO_LEADER" });
    // Who takes old data gets what there is.
    expect(await stale.next()).toMatchObject({ value: { type: "put" } });
    group.network.cut(follower, false);
  });

  it("ends a stream whose input is not in its form, whose VM is not there, and whose node stops", async () => {
    await group.bootstrap();
    await group.call(1, "vm.create", { name: "web", spec });
    const node = group.node(1);
    const stream = (name: string) => node.stream("vm.logs", { name, offset: 0 }, group.meta(), { signal: over.signal });
    await expect(stream("no")).rejects.toMatchObject({ code: "VM_NOT_FOUND" });
    const { transport } = await guest(8, "operator");
    const request = { name: "web", offset: 0 };
    const payload = encodeServiceCall({ name: "vm.console", request, meta: group.meta() });
    const input = (async function* () {
      yield encodeServiceResponse("a text, not bytes");
    })();
    const options = { timeoutMs: 5_000, signal: over.signal, input };
    const console = await transport.stream?.(nodeOne, "vm.console", payload, options);
    await expect(console?.[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });

    const waiting = new Watch(false);
    const ended = (async () => {
      const output = (await stream("web"))[Symbol.asyncIterator]();
      const next = output.next();
      waiting.set(true);
      return await next;
    })();
    ended.catch(() => {});
    await waiting.until((now) => now);
    await group.machine(1).stop();
    await expect(ended).rejects.toMatchObject({ code: "STOPPED" });
  });
});
