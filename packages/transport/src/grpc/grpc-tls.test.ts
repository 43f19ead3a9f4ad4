import { type Clock, Watch } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { NodeTls, type OperatorTls } from "@blixard/identity";
import { TestCa } from "@blixard/identity/testing";
import { afterEach, describe, expect, it } from "@jest/globals";
import type { Connection } from "../transport-types.ts";
import { createGrpcAdapter, type GrpcAdapter } from "./index.ts";

const dayMs = 24 * 3_600_000;
const adapters: GrpcAdapter[] = [];
afterEach(async () => {
  await Promise.all(adapters.splice(0).map((adapter) => adapter.close()));
});

interface Started {
  readonly adapter: GrpcAdapter;
  readonly tls: NodeTls;
  readonly accepted: Watch<readonly Connection[]>;
  /** So many of them were looked at. */
  checked: number;
}

async function start(loadOperator?: () => OperatorTls, clock: Clock = systemClock): Promise<Started> {
  const secretKey = systemRandom.bytes(32);
  const tls = new NodeTls({ clock, secretKey, ...(loadOperator === undefined ? {} : { loadOperator }) });
  const adapter = createGrpcAdapter({ clock, secretKey, tls, bind: "127.0.0.1:0" });
  adapters.push(adapter);
  const accepted = new Watch<readonly Connection[]>([]);
  await adapter.listen((connection) => accepted.set([...accepted.value, connection]));
  return { adapter, tls, accepted, checked: 0 };
}

function dial(from: Started, { adapter }: Started, endpointId = adapter.endpointId): Promise<Connection> {
  const to = { endpointId, addresses: adapter.addresses() };
  return from.adapter.connect(to, "blixard/raft/1", { signal: AbortSignal.timeout(10_000) });
}

/** What a connection carries arrives, with the key of the dialler proved. */
async function expectCarries(connection: Connection, from: Started, to: Started): Promise<void> {
  const stream = await connection.openStream();
  await stream.write(Uint8Array.of(1, 2, 3));
  const [accepted] = (await to.accepted.until((all) => all.length > to.checked)).slice(to.checked);
  to.checked++;
  expect(accepted?.remoteEndpointId).toBe(from.adapter.endpointId);
  const incoming = await accepted?.acceptStream();
  expect(await incoming?.read(16)).toEqual(Uint8Array.of(1, 2, 3));
}

const clockAt = (offsetMs: number): Clock => ({ ...systemClock, unixMs: () => systemClock.unixMs() + offsetMs });

describe("NodeTls with an operator's CA", () => {
  it("connects nodes that the CA has certified, and proves their keys", async () => {
    const ca = new TestCa(systemClock);
    const [one, two] = [await start(() => ca.issue("one")), await start(() => ca.issue("two"))];
    const connection = await dial(one, two);
    expect(connection.remoteEndpointId).toBe(two.adapter.endpointId);
    await expectCarries(connection, one, two);
  });

  it("refuses a dialler of another CA and one without any, before a connection is handed up", async () => {
    const server = await start(() => new TestCa(systemClock).issue("server"));
    for (const other of [await start(() => new TestCa(systemClock).issue("other")), await start()]) {
      await expect(dial(other, server)).rejects.toMatchObject({
        code: expect.stringMatching(/UNKNOWN_PEER|UNREACHABLE/),
      });
    }
    expect(server.accepted.value).toEqual([]);
  });

  it("refuses a listener whose certificate is not of the CA", async () => {
    const dialler = await start(() => new TestCa(systemClock).issue("dialler"));
    await expect(dial(dialler, await start())).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
  });

  it("refuses a certified node that is not the one that was dialled", async () => {
    const ca = new TestCa(systemClock);
    const [one, two] = [await start(() => ca.issue("one")), await start(() => ca.issue("two"))];
    await expect(dial(one, two, "a".repeat(64))).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    expect(two.accepted.value).toEqual([]);
  });

  it("refuses a certified node that claims the key of another", async () => {
    const ca = new TestCa(systemClock);
    const [liar, victim, server] = [
      await start(() => ca.issue("liar")),
      await start(() => ca.issue("victim")),
      await start(() => ca.issue("server")),
    ];
    const prove = liar.tls.prove.bind(liar.tls);
    liar.tls.prove = (socket, side) => ({ ...prove(socket, side), endpointId: victim.adapter.endpointId });
    const connection = await dial(liar, server);
    await connection.closed;
    expect(server.accepted.value).toEqual([]);
  });

  it("uses new files after a rotation, leaves open connections alone, and keeps the old ones when the new do not fit", async () => {
    const ca = new TestCa(systemClock);
    let files = ca.issue("first");
    const [one, two] = [await start(() => ca.issue("one")), await start(() => files)];
    const before = await dial(one, two);
    files = ca.issue("second");
    two.tls.rotate();
    expect(two.tls.certificates()).toMatchObject([{ kind: "node-key" }, { kind: "operator-ca", subject: "CN=second" }]);
    await expectCarries(before, one, two);
    expect(two.accepted.value).toHaveLength(1);
    await expectCarries(await dial(one, two), one, two);
    files = new TestCa(systemClock).issue("third");
    files = { ...files, ca: ca.ca };
    expect(() => two.tls.rotate()).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(two.tls.certificates()[1]).toMatchObject({ subject: "CN=second" });
    await expectCarries(await dial(one, two), one, two);
  });
});

describe("NodeTls with the keys of the nodes", () => {
  it("refuses certificates that are out of date by more than clocks differ", async () => {
    const server = await start();
    const late = await start(undefined, clockAt(-60 * dayMs));
    const little = await start(undefined, clockAt(-dayMs / 2));
    await expect(dial(late, server)).rejects.toMatchObject({ code: "UNKNOWN_PEER" });
    await expectCarries(await dial(little, server), little, server);
    expect(server.accepted.value).toHaveLength(1);
  });
});
