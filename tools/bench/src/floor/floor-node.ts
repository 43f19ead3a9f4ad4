/**
 * The least that a put can cost with the parts that we build on: HTTP of Node.js, frames over Iroh, synced batches of Level. The first
 * node leads for ever, followers hand it their puts, and an answer waits for the disks of a majority. There is no Raft, nobody is
 * asked who he is, nothing is checked, and one frame and one batch carry whatever waits.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ByteStream, Connection, EndpointAddress } from "@blixard/transport";
import { createIrohAdapter } from "@blixard/transport/iroh";
import { Level } from "level";
import { pack, unpack } from "msgpackr";

export interface FloorStart {
  readonly id: number;
  readonly dataDir: string;
  /** Of a follower. */
  readonly leader?: EndpointAddress;
}

export interface FloorUp {
  readonly address: EndpointAddress;
  readonly port: number;
}

const readBytes = 64 * 1024;
const answerBody = '{"value":""}';
const answerHead = { "content-type": "application/json", "content-length": answerBody.length };

/** `entries` go to followers, `puts` to the leader; `stored` is the last entry that a follower has synced. */
interface Frame {
  entries: (readonly [key: string, value: string])[];
  puts: (readonly [id: number, key: string, value: string])[];
  answers: number[];
  stored: number;
  committed: number;
}

const emptyFrame = (): Frame => ({ entries: [], puts: [], answers: [], stored: -1, committed: -1 });

/** One peer: what waits for it goes out in one frame as soon as the last one is written. */
class Link {
  readonly #stream: ByteStream;
  readonly #onFrame: (frame: Frame) => void;
  #waiting: Frame | undefined;
  #writing = false;

  constructor(stream: ByteStream, onFrame: (frame: Frame) => void) {
    this.#stream = stream;
    this.#onFrame = onFrame;
    void this.#read();
  }

  /** What goes out next, to add to. */
  get next(): Frame {
    this.#waiting ??= emptyFrame();
    if (!this.#writing) {
      this.#writing = true;
      setImmediate(() => void this.#write());
    }
    return this.#waiting;
  }

  async #write(): Promise<void> {
    for (let frame = this.#waiting; frame !== undefined; frame = this.#waiting) {
      this.#waiting = undefined;
      const body = pack([frame.entries, frame.puts, frame.answers, frame.stored, frame.committed]);
      const bytes = Buffer.allocUnsafe(4 + body.length);
      bytes.writeUInt32BE(body.length);
      bytes.set(body, 4);
      await this.#stream.write(bytes);
    }
    this.#writing = false;
  }

  async #read(): Promise<void> {
    let left: Buffer = Buffer.alloc(0);
    for (;;) {
      const bytes = await this.#stream.read(readBytes);
      if (bytes === undefined) return;
      left =
        left.length === 0 ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([left, bytes]);
      while (left.length >= 4 && left.length >= 4 + left.readUInt32BE()) {
        const end = 4 + left.readUInt32BE();
        const [entries, puts, answers, stored, committed] = unpack(left.subarray(4, end));
        left = left.subarray(end);
        this.#onFrame({ entries, puts, answers, stored, committed });
      }
    }
  }
}

type Entry = readonly [key: string, value: string, answer?: () => void];

export class FloorNode {
  readonly #level: Level<string, Buffer>;
  readonly #state = new Map<string, string>();
  readonly #links: Link[] = [];
  /** Of the leader: what each follower has stored. */
  readonly #stored: number[] = [];
  readonly #open = new Map<number, () => void>();
  readonly #applying: Entry[] = [];
  readonly #leads: boolean;
  #waiting: Entry[] = [];
  #storing = false;
  #lastEntry = 0;
  #ownStored = 0;
  #applied = 0;
  #nextId = 1;
  readonly #met: (() => void)[] = [];

  constructor({ id, dataDir }: FloorStart) {
    this.#leads = id === 1;
    this.#level = new Level(dataDir, { keyEncoding: "utf8", valueEncoding: "buffer", compression: false });
  }

  /** Resolves when the other side has it too, which hears of a stream with its first bytes. */
  async add(stream: ByteStream): Promise<void> {
    const at = this.#links.length;
    this.#stored[at] = 0;
    const link = new Link(stream, (frame) => this.#onFrame(at, frame));
    this.#links.push(link);
    link.next.committed = 0;
    await new Promise<void>((resolve) => this.#met.push(resolve));
  }

  async put(key: string, value: string): Promise<void> {
    await new Promise<void>((answer) => {
      if (this.#leads) return this.#append([key, value, answer]);
      const id = this.#nextId++;
      this.#open.set(id, answer);
      this.#links[0]?.next.puts.push([id, key, value]);
    });
  }

  #onFrame(at: number, { entries, puts, answers, stored, committed }: Frame): void {
    for (const met of this.#met.splice(0)) met();
    for (const [id, key, value] of puts) {
      this.#append([key, value, () => this.#links[at]?.next.answers.push(id)]);
    }
    for (const entry of entries) this.#append(entry);
    for (const id of answers) {
      this.#open.get(id)?.();
      this.#open.delete(id);
    }
    if (stored >= 0) {
      this.#stored[at] = stored;
      this.#commit();
    }
    if (committed >= 0) this.#apply(committed);
  }

  #append(entry: Entry): void {
    this.#waiting.push(entry);
    if (!this.#storing) {
      this.#storing = true;
      setImmediate(() => void this.#store());
    }
  }

  async #store(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const first = this.#lastEntry + 1;
      this.#lastEntry += batch.length;
      this.#applying.push(...batch);
      const pairs = batch.map(([key, value]) => [key, value] as const);
      if (this.#leads) for (const link of this.#links) link.next.entries.push(...pairs);
      await this.#level.put(String(first).padStart(16, "0"), pack(pairs), { sync: true });
      this.#ownStored = this.#lastEntry;
      if (this.#leads) this.#commit();
      else if (this.#links[0] !== undefined) this.#links[0].next.stored = this.#ownStored;
    }
    this.#storing = false;
  }

  #commit(): void {
    const sorted = [this.#ownStored, ...this.#stored].sort((one, other) => other - one);
    const committed = sorted[Math.floor(sorted.length / 2)] ?? 0;
    if (committed <= this.#applied) return;
    this.#apply(committed);
    for (const link of this.#links) link.next.committed = committed;
  }

  #apply(committed: number): void {
    const count = Math.min(committed - this.#applied, this.#applying.length);
    for (const [key, value, answer] of this.#applying.splice(0, count)) {
      this.#state.set(key, value);
      answer?.();
    }
    this.#applied += count;
  }
}

/** Serves `PUT /v1/kv/KEY` with `{"value": ...}` until its process ends. */
export async function serveFloor(start: FloorStart): Promise<FloorUp> {
  const node = new FloorNode(start);
  const secretKey = new Uint8Array(32).fill(start.id);
  const adapter = createIrohAdapter({ secretKey, bind: "127.0.0.1:0", relay: false, discovery: false });
  const accept = async (connection: Connection) => {
    const stream = await connection.acceptStream();
    if (stream !== undefined) await node.add(stream);
  };
  await adapter.listen((connection) => void accept(connection));
  if (start.leader !== undefined) {
    const connection = await adapter.connect(start.leader, "blixard/raft/1", { signal: new AbortController().signal });
    await node.add(await connection.openStream());
  }
  const server = createServer((request, response) => void answer(node, request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { port, address: { endpointId: adapter.endpointId, addresses: adapter.addresses() } };
}

/** A read, which is only part of the warm-up, asks nobody else. */
async function answer(node: FloorNode, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bodyOf(request);
  const key = decodeURIComponent((request.url ?? "").slice("/v1/kv/".length));
  if (request.method === "PUT") await node.put(key, (JSON.parse(body) as { readonly value: string }).value);
  response.writeHead(200, answerHead).end(answerBody);
}

function bodyOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (part: string) => {
      text += part;
    });
    request.on("end", () => resolve(text));
  });
}
