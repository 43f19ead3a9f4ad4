/** What the embedded driver tells its host process, as a JSON file named by `-config`. */
export interface VmHostConfig {
  readonly format: 1;
  readonly vmId: string;
  readonly name: string;
  readonly fencingEpoch: number;
  readonly memoryMiB: number;
  readonly kernelPath: string;
  readonly commandLine: string;
  readonly pidFile: string;
  readonly controlSocket: string;
  readonly serialSocket: string;
  readonly consoleLog: string;
  readonly journal: string;
}
