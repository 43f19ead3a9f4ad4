/**
 * `npm run bench -- switch [--seconds 3] [--rounds 5]`: frames of a private network between two cards at one switch, and between
 * those of two nodes over Iroh: round trips of small frames, and MiB/s of frames of 1,500 bytes. Then the time of a put at a cluster of
 * three nodes, alone and beside a card of another process that sends all it can from one node to another, in turn.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ProcessCluster } from "@blixard/testing";
import { binary } from "../sides/binary.ts";
import { type BedCard, datagram, SwitchBed } from "./switch-bed.ts";

const main = fileURLToPath(new URL("../main.js", import.meta.url));
const pingBytes = 64;
const pings = 2_000;
const frameBytes = 1_514;
/** Frames on their way: less than a switch holds, so that none is lost. */
const windowFrames = 256;
const clients = 8;
const mebibyte = 1024 ** 2;
const floodBatch = 64;

export async function runSwitchBench(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { seconds: { type: "string", default: "3" }, rounds: { type: "string", default: "5" } },
  });
  const durationMs = Number(values.seconds) * 1_000;
  {
    await using bed = await SwitchBed.open();
    const [a, b, c] = bed.cards as readonly [BedCard, BedCard, BedCard, BedCard];
    for (const [name, to] of [
      ["one node", b],
      ["two nodes", c],
    ] as const) {
      const rtt = await roundTrips(a, to);
      const rate = await throughput(a, to, durationMs);
      say(`${name}: round trip p50 ${rtt.p50.toFixed(2)} ms, p99 ${rtt.p99.toFixed(2)} ms; ${rate.toFixed(0)} MiB/s`);
    }
    say(`frames lost: ${JSON.stringify(await Promise.all(bed.switches.map((each) => each.drops())))}`);
  }
  await putsBesideFlood(Number(values.rounds), durationMs);
}

async function roundTrips(from: BedCard, to: BedCard): Promise<{ readonly p50: number; readonly p99: number }> {
  const [there, back] = [datagram(from, to, pingBytes), datagram(to, from, pingBytes)];
  to.card.onFrame = () => void to.card.send([back]);
  const times: number[] = [];
  for (let count = 0; count < pings; count++) {
    const startMs = performance.now();
    const answered = new Promise<void>((resolve) => {
      from.card.onFrame = () => resolve();
    });
    await from.card.send([there]);
    await answered;
    times.push(performance.now() - startMs);
  }
  return percentiles(times);
}

async function throughput(from: BedCard, to: BedCard, durationMs: number): Promise<number> {
  const frame = datagram(from, to, frameBytes);
  let received = 0;
  let wake = () => {};
  to.card.onFrame = () => {
    received++;
    wake();
  };
  const startMs = performance.now();
  let sent = 0;
  while (performance.now() - startMs < durationMs) {
    const room = windowFrames - (sent - received);
    if (room < windowFrames / 2) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      continue;
    }
    sent += room;
    await from.card.send(Array.from({ length: room }, () => frame));
  }
  return (received * frameBytes) / mebibyte / ((performance.now() - startMs) / 1_000);
}

async function putsBesideFlood(rounds: number, durationMs: number): Promise<void> {
  const flags = ["--vm-driver", "fake", "--log-level", "error"];
  const cluster = await ProcessCluster.start({ binary, flags });
  try {
    const leader = await cluster.waitForLeader();
    const before = await cluster.status(leader);
    const [calm, flooded]: [number[], number[]] = [[], []];
    await puts(cluster, durationMs);
    for (let round = 0; round < rounds; round++) {
      calm.push(...(await puts(cluster, durationMs)));
      const flood = await startFlood();
      flooded.push(...(await puts(cluster, durationMs)));
      await endFlood(flood);
    }
    const after = await cluster.status(leader);
    for (const [name, times] of [
      ["alone", calm],
      ["beside a flood", flooded],
    ] as const) {
      const { p50, p99 } = percentiles(times);
      say(`put ${name}: ${times.length} puts, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`);
    }
    const ratio = percentiles(flooded).p99 / percentiles(calm).p99;
    say(`p99 ${ratio.toFixed(2)} times; ${after.term === before.term ? "no election" : "AN ELECTION"}`);
    if (after.term !== before.term || ratio > 2) process.exitCode = 1;
  } finally {
    await cluster.close();
  }
}

async function puts(cluster: ProcessCluster, durationMs: number): Promise<number[]> {
  const client = cluster.client();
  const times: number[] = [];
  const untilMs = performance.now() + durationMs;
  const put = async (key: string) => {
    while (performance.now() < untilMs) {
      const startMs = performance.now();
      await client.kv.put(key, "x".repeat(100));
      times.push(performance.now() - startMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, at) => put(`bench-${at}`)));
  client.close();
  return times;
}

async function startFlood(): Promise<ChildProcess> {
  const child = fork(main, ["switch-flood"], { stdio: ["ignore", "inherit", "inherit", "ipc"], execArgv: [] });
  await once(child, "message");
  return child;
}

async function endFlood(child: ChildProcess): Promise<void> {
  child.send("end");
  const [said] = (await once(child, "message")) as [string];
  say(`the flood: ${said}`);
  await once(child, "exit");
}

/** The other process of `switch`: a card that sends all that its switch takes to one of the other node. */
export async function runSwitchFlood(): Promise<void> {
  await using bed = await SwitchBed.open();
  const [from, , to] = bed.cards as readonly [BedCard, BedCard, BedCard, BedCard];
  const frames = Array.from({ length: floodBatch }, () => datagram(from, to, frameBytes));
  let received = 0;
  let ended = false;
  to.card.onFrame = () => received++;
  process.once("message", () => {
    ended = true;
  });
  process.send?.("begun");
  const startMs = performance.now();
  let sent = 0;
  while (!ended) {
    await from.card.send(frames);
    sent += frames.length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const seconds = (performance.now() - startMs) / 1_000;
  const rate = (count: number) => `${((count * frameBytes) / mebibyte / seconds).toFixed(0)} MiB/s`;
  process.send?.(`${rate(sent)} sent, ${rate(received)} arrived`);
  process.disconnect();
}

function percentiles(times: readonly number[]): { readonly p50: number; readonly p99: number } {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
