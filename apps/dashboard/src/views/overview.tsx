/** How the cluster is, at a glance. */
import type { NodeStatus, NodeView } from "@blixard/protocol";
import { nodes, samples, status } from "../model/cluster.ts";
import { mib, rate } from "../model/format.ts";
import { seriesOf } from "../model/metrics.ts";
import { hrefOf } from "../model/place.ts";
import { quorumOf, warningsOf } from "../model/warnings.ts";
import { Badge } from "../parts/badge.tsx";
import { Plot } from "../parts/plot.tsx";
import { Use } from "../parts/use.tsx";

export function Overview() {
  const { value } = status;
  if (value === undefined) return <p class="quiet">Asking the node …</p>;
  const warnings = warningsOf(value, nodes.value);
  return (
    <>
      <section aria-label="Warnings">
        {warnings.length === 0 ? (
          <p class="fine">Nothing needs attention.</p>
        ) : (
          <ul class="warnings">
            {warnings.map((warning) => (
              <li key={warning}>{warning}</li>
            ))}
          </ul>
        )}
      </section>
      <Facts status={value} nodes={nodes.value ?? []} />
      <Plots />
    </>
  );
}

function Facts({ status: known, nodes: all }: { readonly status: NodeStatus; readonly nodes: readonly NodeView[] }) {
  const { voters, present, needed } = quorumOf(known);
  const usedMiB = all.reduce((sum, { usedMemoryMiB }) => sum + usedMemoryMiB, 0);
  const memoryMiB = all.reduce((sum, { capacity }) => sum + capacity.memoryMiB, 0);
  return (
    <dl class="facts">
      <div>
        <dt>Leader</dt>
        <dd>{known.leaderId === null ? <Badge text="none" /> : `node ${known.leaderId}`}</dd>
      </div>
      <div>
        <dt>Term</dt>
        <dd>{known.term}</dd>
      </div>
      <div>
        <dt>Voters</dt>
        <dd>
          {present} of {voters} heard from here, {needed} needed
        </dd>
      </div>
      <div>
        <dt>Log</dt>
        <dd>
          committed {known.commitIndex}, applied {known.appliedIndex}
        </dd>
      </div>
      <div>
        <dt>VMs</dt>
        <dd>
          <a href={hrefOf("vms")}>
            {known.vms.running} of {known.vms.total} running
          </a>
        </dd>
      </div>
      <div>
        <dt>Memory of VMs</dt>
        <dd>
          <Use name="Memory of VMs" used={usedMiB} of={memoryMiB} text={`${mib(usedMiB)} of ${mib(memoryMiB)}`} />
        </dd>
      </div>
      <div>
        <dt>Storage</dt>
        <dd>{known.storage.healthy ? <Badge text="healthy" /> : <Badge text="failed" />}</dd>
      </div>
      <div>
        <dt>Answered by</dt>
        <dd>
          node {known.nodeId} ({known.role}), blixard {known.version}
        </dd>
      </div>
    </dl>
  );
}

function Plots() {
  const { seconds, commitsPerSecond, writeMs, lag } = seriesOf(samples.value);
  const last = (values: readonly (number | null)[]) => values.findLast((value) => value !== null);
  const commits = last(commitsPerSecond);
  const write = last(writeMs);
  const shared = { seconds };
  return (
    <section class="plots" aria-label="Plots of this node">
      <Plot
        {...shared}
        title="Commits per second"
        now={commits == null ? "–" : rate(commits)}
        values={commitsPerSecond}
      />
      <Plot
        {...shared}
        title="Time of a write here"
        now={write == null ? "–" : `${write.toFixed(1)} ms`}
        values={writeMs}
      />
      <Plot {...shared} title="Entries to apply" now={String(last(lag) ?? "–")} values={lag} />
    </section>
  );
}
