/**
 * The other side of a path, in a process of its own, so that the CPU of each side is known. What it does with what
 * arrives is told over the process's own channel, never over the path.
 */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { assert, Watch } from "@blixard/common";
import type { PeerMessage } from "@blixard/raft";
import type { ByteStream, EndpointAddress } from "@blixard/transport";
import { type CarrierName, carrierNames, openCarrier } from "./carriers.ts";
import { type LaneName, openLane } from "./lane.ts";
import { ackMessage, PlainFrameReader, pingMessage } from "./traffic.ts";

/** What the peer does with what it reads: sends it back, counts bytes, or decodes and counts messages. */
export type PeerMode = "echo" | "bytes" | "messages";
export type PathName = CarrierName | LaneName;

type ToPeer =
  | { readonly type: "meet"; readonly address: EndpointAddress }
  | { readonly type: "begin"; readonly mode: PeerMode }
  | { readonly type: "end"; readonly count: number };
type FromPeer =
  | { readonly type: "up"; readonly address: EndpointAddress }
  | { readonly type: "began" }
  | { readonly type: "ended"; readonly cpuMicros: number };

/** Messages that a lane's peer acknowledges at once. */
export const ackEvery = 64;
const answerMs = 30_000;
const readBytes = 64 * 1024;
const answer = pingMessage(2, 1, "MsgHeartbeatResp");

export const isCarrier = (name: PathName): name is CarrierName => carrierNames.some((known) => known === name);

/** Microseconds of CPU that this process has used, in all its threads. */
export function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

export class PeerProcess {
  readonly #child: ChildProcess;
  readonly #answers = new Watch<readonly FromPeer[]>([]);
  readonly address: Promise<EndpointAddress>;

  constructor(name: PathName) {
    const main = fileURLToPath(new URL("../main.js", import.meta.url));
    this.#child = fork(main, ["transport-peer", name], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#child.on("message", (answer: FromPeer) => this.#answers.update((all) => [...all, answer]));
    this.address = this.#answer("up").then(({ address }) => address);
  }

  meet(address: EndpointAddress): void {
    this.#tell({ type: "meet", address });
  }

  async begin(mode: PeerMode): Promise<void> {
    this.#tell({ type: "begin", mode });
    await this.#answer("began");
  }

  /** Resolves with the CPU that the peer used since `begin`, when it has `count` of what it counts. */
  async end(count: number): Promise<number> {
    this.#tell({ type: "end", count });
    return (await this.#answer("ended")).cpuMicros;
  }

  close(): void {
    this.#child.kill();
  }

  #tell(message: ToPeer): void {
    this.#child.send(message);
  }

  async #answer<Type extends FromPeer["type"]>(type: Type): Promise<Extract<FromPeer, { type: Type }>> {
    const is = (answer: FromPeer): answer is Extract<FromPeer, { type: Type }> => answer.type === type;
    const signal = AbortSignal.timeout(answerMs);
    const answers = await this.#answers.until((all) => all.some(is), { signal }).catch((): readonly FromPeer[] => []);
    const found = answers.find(is);
    assert(found !== undefined, `the peer did not say '${type}' within ${answerMs} ms`);
    this.#answers.set([]);
    return found;
  }
}

/** `transport-peer NAME`: runs until the other process ends it. */
export async function runTransportPeer(args: readonly string[]): Promise<void> {
  const name = args[0] as PathName;
  const peer = new CountingPeer();
  const say = (message: FromPeer) => process.send?.(message);
  const fail = (error: Error) => {
    process.stderr.write(`bench: ${error.message}\n`);
    process.exit(1);
  };
  const lane = isCarrier(name)
    ? undefined
    : await openLane(name, 2, () => lane !== undefined && peer.onMessage(lane.send), fail);
  const carrier = isCarrier(name) ? await openCarrier(name, 2) : undefined;
  void carrier?.accept().then((stream) => peer.readAll(stream));
  process.on("disconnect", () => process.exit());
  process.on("message", async (message: ToPeer) => {
    if (message.type === "meet") await lane?.connect(message.address);
    else if (message.type === "begin") {
      peer.begin(message.mode);
      say({ type: "began" });
    } else say({ type: "ended", cpuMicros: await peer.end(message.count) });
  });
  const address = lane?.address ?? carrier?.address;
  assert(address !== undefined, "a path has an address");
  say({ type: "up", address });
}

class CountingPeer {
  readonly #count = new Watch(0);
  /** Of all messages, not of one measurement: the sender's window runs on, and would lose what is never acknowledged. */
  #messages = 0;
  #mode: PeerMode = "echo";
  #cpuMicros = 0;

  begin(mode: PeerMode): void {
    this.#mode = mode;
    this.#count.set(0);
    this.#cpuMicros = cpuMicros();
  }

  async end(count: number): Promise<number> {
    await this.#count.until((value) => value >= count);
    return cpuMicros() - this.#cpuMicros;
  }

  async readAll(stream: ByteStream): Promise<void> {
    const frames = new PlainFrameReader();
    for (let bytes = await stream.read(readBytes); bytes !== undefined; bytes = await stream.read(readBytes)) {
      if (this.#mode === "echo") await stream.write(bytes);
      const added = this.#mode === "messages" ? frames.push(bytes) : bytes.length;
      this.#count.set(this.#count.value + added);
    }
  }

  onMessage(send: (message: PeerMessage) => void): void {
    if (this.#mode === "echo") {
      send(answer);
      return;
    }
    this.#count.set(this.#count.value + 1);
    this.#messages++;
    if (this.#messages % ackEvery === 0) send(ackMessage(this.#messages, 2, 1));
  }
}
