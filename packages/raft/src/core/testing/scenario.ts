/**
 * Scenarios: a text file of commands to a group of cores, each followed by what the group then did. A line that
 * starts with "> " is a command, "#" starts a comment, and the lines below a command are its expected output.
 */
import { assert, errorCodeOf } from "@blixard/common";
import type { RaftConfig } from "../raft-core.ts";
import {
  asLogIndex,
  asNodeId,
  type ConfChange,
  type ConfChangeOp,
  type ConfState,
  type Entry,
  type Message,
  type Ready,
} from "../types.ts";
import { CoreGroup } from "./core-group.ts";

/** Runs all commands of a scenario and returns its text with the output that they really gave. */
export function runScenario(text: string): string {
  const session = new Session();
  const lines: string[] = [];
  let skipping = false;
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("> ")) {
      lines.push(line, ...session.run(line.slice(2)));
      skipping = true;
    } else if (line === "" || line.startsWith("#")) {
      lines.push(line);
      skipping = false;
    } else {
      assert(skipping, `this line belongs to no command: ${line}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

const numberOf = (word: string): number => Number(word);
const listOf = (value = ""): number[] => value.split(",").filter(Boolean).map(Number);
const bytesOf = (text: string): Uint8Array => Uint8Array.from([...text], (letter) => letter.charCodeAt(0));

class Session {
  #group: CoreGroup | undefined;
  #output: string[] = [];

  run(command: string): readonly string[] {
    this.#output = [];
    const [name = "", ...words] = command.split(" ");
    try {
      this.#dispatch(name, words);
    } catch (error) {
      const code = errorCodeOf(error);
      if (code === undefined || code === "INVARIANT") throw error;
      this.#output.push(`error ${code}`);
    }
    return this.#output;
  }

  #dispatch(name: string, words: readonly string[]): void {
    const options = new Map(
      words.filter((word) => word.includes("=")).map((word) => word.split("=") as [string, string]),
    );
    const [first = "", second = ""] = words;
    if (name === "group") {
      this.#group = newGroup(options);
      return;
    }
    const group = this.#group;
    assert(group !== undefined, "the first command must be group");
    const core = () => group.core(numberOf(first));
    const commands: Record<string, () => void> = {
      campaign: () => core().campaign(),
      propose: () => core().propose(bytesOf(second)),
      change: () => core().proposeConfChange(changeOf(words.slice(1), options)),
      read: () => core().readIndex(bytesOf(second)),
      transfer: () => core().transferLeader(asNodeId(numberOf(second))),
      forget: () => core().forgetLeader(),
      unreachable: () => core().reportUnreachable(asNodeId(numberOf(second))),
      delivered: () => core().reportSnapshot(asNodeId(numberOf(second)), true),
      undelivered: () => core().reportSnapshot(asNodeId(numberOf(second)), false),
      tick: () => group.tick(numberOf(first), numberOf(second || "1")),
      restart: () => group.restart(numberOf(first)),
      compact: () => group.node(numberOf(first)).storage.compact(asLogIndex(numberOf(second))),
      process: () => this.#process(group, numberOf(first)),
      write: () => assert(group.work(numberOf(first), "append"), "there is nothing to write"),
      apply: () => assert(group.work(numberOf(first), "apply"), "there is nothing to apply"),
      settle: () => this.#settle(group, listOf(options.get("cut")), options.get("lose")),
      status: () => this.#status(group),
      log: () => this.#output.push(...group.node(numberOf(first)).storage.all().map(describeEntry)),
    };
    const run = commands[name];
    assert(run !== undefined, `there is no command ${name}`);
    run();
  }

  #process(group: CoreGroup, id: number): void {
    const ready = group.process(id);
    if (ready === undefined) this.#output.push(`node ${id} has nothing to do`);
    else this.#output.push(`node ${id}:`, ...describeReady(ready).map((line) => `  ${line}`));
  }

  /**
   * Like CoreGroup.settle, step by step, so that everything can be told. Messages to and from `cut` are lost, and so
   * are those of the type `lose`.
   */
  #settle(group: CoreGroup, cut: readonly number[], lose: string | undefined): void {
    const lost = ({ type, from, to }: Message) => type === lose || cut.some((id) => id === from || id === to);
    for (let busy = true; busy; ) {
      busy = false;
      for (const { id, core } of group.nodes) {
        for (; core.hasReady(); busy = true) this.#process(group, id);
        while (group.work(id, "append") || group.work(id, "apply")) busy = true;
      }
      const messages = group.network;
      group.network = [];
      for (const message of messages) {
        busy = true;
        if (lost(message)) this.#output.push(`lost ${describeMessage(message)}`);
        else group.deliver(message);
      }
    }
  }

  #status(group: CoreGroup): void {
    for (const { id, core } of group.nodes) {
      const { role, term, lead, commit, applied, voters, progress } = core.status();
      const joint = voters[1].length === 0 ? "" : ` leaving [${voters[1]}]`;
      const state = `${role} term ${term} lead ${lead} commit ${commit} applied ${applied}`;
      this.#output.push(`node ${id}: ${state} voters [${voters[0]}]${joint}`);
      for (const peer of progress) {
        const marks = [peer.learner && "learner", peer.paused && "paused", !peer.recentActive && "silent"];
        const extra = [...marks.filter(Boolean), peer.inflight > 0 ? `${peer.inflight} in flight` : ""].filter(Boolean);
        const place = `match ${peer.match} next ${peer.next}`;
        this.#output.push(`  ${[`${peer.id}: ${peer.state} ${place}`, ...extra].join(", ")}`);
      }
    }
  }
}

function newGroup(options: ReadonlyMap<string, string>): CoreGroup {
  const config: Record<string, unknown> = {};
  for (const [key, value] of options) {
    if (key === "voters" || key === "learners" || key === "outsiders") continue;
    config[key] = value === "true" ? true : Number.isNaN(Number(value)) ? value : Number(value);
  }
  return new CoreGroup({
    voters: listOf(options.get("voters")),
    learners: listOf(options.get("learners")),
    outsiders: listOf(options.get("outsiders")),
    config: config as Partial<RaftConfig>,
  });
}

/** Words such as +4 (voter), ~4 (learner) and -4 (remove); none at all leaves a joint configuration. */
function changeOf(words: readonly string[], options: ReadonlyMap<string, string>): ConfChange {
  const ops: Record<string, ConfChangeOp["op"]> = { "+": "addVoter", "~": "addLearner", "-": "remove" };
  const changes: ConfChangeOp[] = [];
  for (const word of words) {
    const op = ops[word[0] ?? ""];
    if (op !== undefined) changes.push({ op, id: asNodeId(Number(word.slice(1))) });
  }
  const transition = (options.get("transition") ?? "auto") as ConfChange["transition"];
  return { version: 2, transition, changes };
}

function describeReady(ready: Ready): string[] {
  const lines: string[] = [];
  const { softState, hardState, snapshot } = ready;
  if (softState !== undefined) lines.push(`is ${softState.role}, lead ${softState.lead}`);
  if (hardState !== undefined) {
    const kind = ready.mustSync ? "writes" : "notes";
    lines.push(`${kind} term ${hardState.term} vote ${hardState.vote} commit ${hardState.commit}`);
  }
  for (const { index, context } of ready.readStates)
    lines.push(`may read ${String.fromCharCode(...context)} at ${index}`);
  if (snapshot !== undefined)
    lines.push(`installs ${snapshot.term}/${snapshot.index} ${describeConf(snapshot.confState)}`);
  for (const entry of ready.entries) lines.push(`appends ${describeEntry(entry)}`);
  for (const entry of ready.committedEntries) lines.push(`applies ${describeEntry(entry)}`);
  for (const message of ready.messages) lines.push(...describeDeep(message));
  return lines;
}

function describeDeep(message: Message): string[] {
  const responses = (message.responses ?? []).flatMap(describeDeep);
  return [describeMessage(message), ...responses.map((line) => `  then ${line}`)];
}

function describeMessage(message: Message): string {
  const { type, from, to, term, index, logTerm, commit, rejectHint, entries, snapshot } = message;
  const parts = [`${from} -> ${to} ${type} term ${term}`];
  if (index > 0 || logTerm > 0) parts.push(`at ${logTerm}/${index}`);
  if (commit > 0) parts.push(`commit ${commit}`);
  if (message.reject) parts.push(`rejected, hint ${rejectHint}`);
  if (entries.length > 0) parts.push(`with ${entries.map(describeEntry).join(", ")}`);
  if (snapshot !== undefined) parts.push(`snapshot ${snapshot.term}/${snapshot.index}`);
  return parts.join(" ");
}

function describeEntry(entry: Entry): string {
  const place = `${entry.term}/${entry.index}`;
  if (entry.kind === "normal") return `${place} "${String.fromCharCode(...entry.data)}"`;
  const { changes, transition } = entry.change;
  return `${place} ${transition} change [${changes.map(({ op, id }) => `${op} ${id}`).join(", ")}]`;
}

const describeConf = ({ voters, learners }: ConfState): string => `voters [${voters}] learners [${learners}]`;
