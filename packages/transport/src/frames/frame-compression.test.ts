import { crc32 } from "node:zlib";
import { fromHex, fromUtf8, seededRandom, toHex } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { type Command, encodeCommand } from "@blixard/protocol";
import { decodePeerMessages, encodePeerMessages } from "@blixard/protocol/peer-messages";
import { afterEach, describe, expect, it } from "@jest/globals";
import { createMemoryNetwork } from "../memory/index.ts";
import { decodeHello, encodeHello, helloCapability, ownCapabilities } from "../session/hello.ts";
import { append, asId, type FixtureNode, startNode, stateOf, until } from "../testing/transport-fixture.ts";
import { encodeFrame, type Frame, FrameReader } from "./frame.ts";
import { type CompressionResult, compressToBytes, FrameCompressor, inflate } from "./frame-compression.ts";
import { frameDictionary } from "./frame-dictionary.ts";

const options = { frameBytesMax: 1_000_000, compress: true };
const random = seededRandom(11);
const withDictionary = () => Object.assign(new FrameCompressor(), { withDictionary: true });

const command = (at: number): Command => ({
  requestId: `0193c1a2-7f3e-7c00-9d1a-5b7a2c4e6${toHex(random.bytes(2)).slice(0, 3)}`,
  atUnixMs: 1_764_036_000_000 + at,
  actor: { kind: "token", id: "admin" },
  body: {
    type: "vm.create",
    name: `web-${at}`,
    vmId: "4b1e7a52-6a0c-4f5e-9a3b-0c9d8e7f6a5b",
    spec: { vcpus: 2, memoryMiB: 512, image: "builtin/nano", onPartition: "stop", restartPolicy: "on-failure" },
    desired: "running",
    node: 2,
    placement: "node 2 has the fewest VMs (3) of the 3 of 3 that fit, 30720 MiB were free",
  },
});
const appendOf = (at: number) => encodePeerMessages([append(1, 2, at, encodeCommand(command(at)))]);

describe("FrameCompressor", () => {
  it("knows the words of commands with the dictionary: one VM record takes less than half of its bytes", () => {
    const payload = appendOf(17);
    const plain = new FrameCompressor().compress("normal", payload)?.bytes.length ?? payload.length;
    const known = withDictionary().compress("normal", payload);
    expect(known?.bytes.length).toBeLessThan(payload.length * 0.5);
    expect(known?.bytes.length).toBeLessThan(plain * 0.8);
    expect(known && inflate(known, 10_000)).toEqual(Buffer.from(payload));
  });

  it("tries data that does not shrink ever less often, and goes back to compressing when it changes", () => {
    const results: CompressionResult[] = [];
    const compressor = new FrameCompressor((result) => results.push(result));
    for (let at = 0; at < 600; at++) compressor.compress("bulk", random.bytes(2_000));
    expect(results.filter((result) => result === "useless").length).toBeLessThanOrEqual(12);
    // Another class has its own memory.
    expect(compressor.compress("normal", new Uint8Array(2_000))).toBeDefined();
    let until = 0;
    while (compressor.compress("bulk", new Uint8Array(2_000)) === undefined) until++;
    expect(until).toBeLessThanOrEqual(128);
    expect(compressor.compress("bulk", new Uint8Array(2_000))).toBeDefined();
  });

  it("leaves alone what is so long that it would hold up the event loop", () => {
    expect(new FrameCompressor().compress("normal", new Uint8Array(compressToBytes + 1))).toBeUndefined();
  });
});

describe("the dictionary", () => {
  it("is part of the wire format: its bytes never change", () => {
    expect([frameDictionary.length, crc32(frameDictionary).toString(16)]).toMatchInlineSnapshot(`
[
  1242,
  "1008453a",
]
`);
  });

  it("reads the frames that this release wrote when the format was made", () => {
    const golden = "425801130000001b90422dbe6364646064606462640001460646d6354cf0a0561865a512080300";
    const [frame] = new FrameReader(options).push(fromHex(golden) ?? new Uint8Array());
    expect(frame && decodePeerMessages(frame.payload)).toEqual([append(1, 2, 5, fromUtf8("vm.create ".repeat(30)))]);
  });

  it("is announced behind the fields of a hello that older releases read", () => {
    const hello = { nodeId: 1, toNodeId: 2, instance: 5, sequence: 1, capabilities: ownCapabilities };
    expect(toHex(encodeHello(hello))).toBe("9b0101020501000000000001");
    expect(decodeHello(encodeHello(hello))).toEqual(hello);
  });

  it("is refused on a frame that is not compressed", () => {
    const header = fromHex("425801120000000000000000") ?? new Uint8Array();
    expect(() => [...new FrameReader(options).push(header)]).toThrow(
      expect.objectContaining({ code: "FRAME_CORRUPT" }),
    );
  });

  it("does not unpack beyond the limit either", () => {
    const bomb = withDictionary().compress("normal", new Uint8Array(900_000));
    expect(() => bomb && inflate(bomb, 100_000)).toThrow(expect.objectContaining({ code: "FRAME_CORRUPT" }));
  });
});

describe("a session", () => {
  const nodes: FixtureNode[] = [];
  const network = createMemoryNetwork({ clock: systemClock, random: seededRandom(3) });
  const idOf = (nodeId: number) => nodeId.toString(16).padStart(64, "0");
  afterEach(() => Promise.all(nodes.splice(0).map(({ transport }) => transport.close())));

  it.each([
    ["plain deflate to a release that never heard of the dictionary", undefined, 0],
    ["plain deflate to one that knows other things", 0xfe, 0],
    ["the dictionary to one that says it knows it", helloCapability.frameDictionary | 0x100, 16],
  ])("uses %s", async (_, capabilities, dictionaryFlag) => {
    const adapter = network.createAdapter({ endpointId: idOf(1) });
    const node = await startNode(1, { adapter, transport: { compress: true } });
    nodes.push(node);
    const other = network.createAdapter({ endpointId: idOf(2) });
    const found: { flags: number; frame: Frame }[] = [];
    await other.listen(async (connection) => {
      const hello = { nodeId: 2, toNodeId: 1, instance: 9, sequence: 1 };
      const payload = encodeHello(capabilities === undefined ? hello : { ...hello, capabilities });
      const greeting = encodeFrame({ streamClass: "urgent", hello: true, payload }, options);
      await (await connection.openStream()).write(greeting);
      for (let stream = await connection.acceptStream(); stream; stream = await connection.acceptStream()) {
        const reader = new FrameReader(options);
        const reading = stream;
        void (async () => {
          for (let bytes = await reading.read(65_536); bytes; bytes = await reading.read(65_536)) {
            for (const frame of reader.push(bytes)) found.push({ flags: bytes[3] ?? 0, frame });
          }
        })().catch(() => {});
      }
    });
    node.transport.setPeers([node.peer(), { nodeId: 2, endpointId: idOf(2), addresses: other.addresses() }]);
    await until(() => stateOf(node, 2) === "ready");
    const sent = append(1, 2, 5, encodeCommand(command(5)));
    node.transport.peers.send(asId(2), sent);
    await until(() => found.some(({ frame }) => frame.streamClass === "normal"));
    const message = found.find(({ frame }) => frame.streamClass === "normal");
    expect((message?.flags ?? 0) & 17).toBe(1 | dictionaryFlag);
    expect(message && decodePeerMessages(message.frame.payload)).toEqual([sent]);
    await other.close();
  });
});
