/** The command line in this process, against the HTTP interface of a node whose service is made up. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { silentLogger } from "@blixard/common";
import { systemClock, systemRandom } from "@blixard/common/system";
import { createHttpApi, type HttpApi, type HttpDeps, type Listener, listenPlain } from "@blixard/http-api";
import { TestService } from "@blixard/http-api/testing";
import { createPromMetrics } from "@blixard/server";
import { run } from "../program.ts";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class CliOnNode {
  readonly service: TestService;
  readonly listener: Listener;
  /** An empty directory for data and configuration. */
  readonly home: string;
  readonly #api: HttpApi;

  private constructor(parts: { service: TestService; listener: Listener; home: string; api: HttpApi }) {
    this.service = parts.service;
    this.listener = parts.listener;
    this.home = parts.home;
    this.#api = parts.api;
  }

  static async start(): Promise<CliOnNode> {
    const home = await mkdtemp(join(tmpdir(), "blixard-cli-"));
    const service = new TestService();
    const metrics = createPromMetrics();
    const deps: HttpDeps = {
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      metrics,
      nodeId: 1,
      endpointId: "e".repeat(64),
      clusterId: () => "cluster",
      storageHealthy: () => true,
      metricsText: () => metrics.text(),
    };
    const api = createHttpApi(deps, { version: "0.0.0-test", debugApi: false, allowedHosts: [] });
    api.serve(service);
    return new CliOnNode({ service, listener: await listenPlain("127.0.0.1:0", api, "--http"), home, api });
  }

  async close(): Promise<void> {
    this.#api.close();
    await this.listener.close(0);
    await rm(this.home, { recursive: true });
  }

  /** Runs a command line as a script would: no terminal, an empty home. */
  async blixard(
    args: readonly string[],
    env: Record<string, string> = {},
    input = "",
    interrupt?: AbortController,
  ): Promise<Outcome> {
    const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() };
    // Ctrl-C as soon as something was shown.
    for (const shown of [streams.stdout, streams.stderr]) shown.once("readable", () => interrupt?.abort());
    streams.stdin.end(input);
    const signal = (interrupt ?? new AbortController()).signal;
    return outcomeOf(args, { ...streams, env: { ...this.#ownEnv(), ...env }, signal });
  }

  /** Against the test server, with Ctrl-C as soon as something was shown. */
  waiting(args: readonly string[], interrupt: AbortController): Promise<Outcome> {
    return this.blixard(args, this.#where(), "", interrupt);
  }

  /** The same with the address and the token of the test server. */
  onNode(args: readonly string[], input = ""): Promise<Outcome> {
    return this.blixard(args, this.#where(), input);
  }

  /** Against the test server, on a terminal where a person types `keys` as soon as something is asked. */
  async answered(keys: string, args: readonly string[]): Promise<Outcome> {
    const streams = { stdout: new PassThrough(), stderr: new PassThrough(), stdin: new PassThrough() };
    const stdin = Object.assign(streams.stdin, { isTTY: true, setRawMode: () => {} });
    const stderr = Object.assign(streams.stderr, { isTTY: true });
    stderr.once("readable", () => stdin.write(keys));
    const env = { ...this.#ownEnv(), ...this.#where(), NO_COLOR: "1" };
    return outcomeOf(args, { ...streams, stdin, stderr, env, signal: new AbortController().signal });
  }

  #ownEnv() {
    return { XDG_DATA_HOME: this.home, XDG_CONFIG_HOME: this.home };
  }

  #where() {
    return { BLIXARD_ADDRESS: `http://${this.listener.address}`, BLIXARD_TOKEN: "admin-token" };
  }
}

async function outcomeOf(
  args: readonly string[],
  context: Omit<Parameters<typeof run>[1], "exitCode"> & { readonly stdout: PassThrough; readonly stderr: PassThrough },
): Promise<Outcome> {
  const code = await run(args, { ...context, exitCode: 0 });
  const text = (stream: PassThrough) => (stream.read() as Buffer | null)?.toString() ?? "";
  return { code, stdout: text(context.stdout), stderr: text(context.stderr) };
}
