/** The first line on standard output of a node: always JSON, printed when the node serves. */
export interface ReadyLine {
  readonly event: "ready";
  readonly nodeId: number;
  readonly endpointId: string;
  readonly clusterId: string;
  /** `host:port` */
  readonly bind: string;
  /** `http://host:port`, or `off`. */
  readonly http: string;
  readonly pid: number;
}
