/** A map of the nodes: each pair with its path and its time, as a picture and as a table. */
import type { NodeView } from "@blixard/protocol";
import { rtt } from "../model/format.ts";
import { Badge } from "../parts/badge.tsx";
import { type Column, Table } from "../parts/table.tsx";

interface Pair {
  readonly from: NodeView;
  readonly to: NodeView;
  readonly path: string;
  readonly transport: string;
  readonly rttMs: number | null;
}

const columns: readonly Column<Pair>[] = [
  { title: "Pair", cell: ({ from, to }) => `${from.id} – ${to.id}` },
  { title: "Path", cell: ({ path }) => <Badge text={path} /> },
  { title: "Transport", cell: ({ transport }) => transport },
  { title: "RTT", cell: ({ rttMs }) => rtt(rttMs), isNumber: true },
];

/** More nodes than this make a picture that nobody can read. */
const drawnMax = 24;
const radius = 120;
const center = 170;

export function PathMap({ nodes }: { readonly nodes: readonly NodeView[] }) {
  const pairs = pairsOf(nodes);
  if (pairs.length === 0) return null;
  return (
    <section aria-label="Connections">
      <h2>Connections</h2>
      <div class="map">
        {nodes.length <= drawnMax && <Picture nodes={nodes} pairs={pairs} />}
        <Table
          name="Connections"
          columns={columns}
          rows={pairs}
          keyOf={({ from, to }) => `${from.id}-${to.id}`}
          empty=""
        />
      </div>
    </section>
  );
}

/** Each pair as the first of the two sees it; as the other one does, where the first says nothing. */
function pairsOf(nodes: readonly NodeView[]): readonly Pair[] {
  return nodes.flatMap((from, at) =>
    nodes.slice(at + 1).map((to) => {
      const seen = from.paths?.find((path) => path.to === to.id) ?? to.paths?.find((path) => path.to === from.id);
      const isCut = from.state === "unreachable" || to.state === "unreachable";
      return {
        ...{ from, to },
        path: isCut ? "none" : (seen?.path ?? "none"),
        transport: seen?.transport ?? "–",
        rttMs: isCut ? null : (seen?.rttMs ?? null),
      };
    }),
  );
}

function Picture({ nodes, pairs }: { readonly nodes: readonly NodeView[]; readonly pairs: readonly Pair[] }) {
  const spots = new Map(
    nodes.map(({ id }, at) => {
      const angle = (2 * Math.PI * at) / nodes.length - Math.PI / 2;
      return [id, { x: center + radius * Math.cos(angle), y: center + radius * Math.sin(angle) }];
    }),
  );
  const spot = (id: number) => spots.get(id) ?? { x: center, y: center };
  return (
    <svg viewBox={`0 0 ${2 * center} ${2 * center}`} role="img" aria-label="Map of the nodes; the table has the same.">
      {pairs.map(({ from, to, path, rttMs }) => {
        const [a, b] = [spot(from.id), spot(to.id)];
        return (
          <g key={`${from.id}-${to.id}`}>
            <line x1={a.x} y1={a.y} x2={b.x} y2={b.y} class={`path ${path}`} />
            {nodes.length <= 6 && rttMs !== null && (
              <text x={(a.x + b.x) / 2} y={(a.y + b.y) / 2 - 4} class="label">
                {rtt(rttMs)}
              </text>
            )}
          </g>
        );
      })}
      {nodes.map(({ id, state }) => (
        <g key={id}>
          <circle cx={spot(id).x} cy={spot(id).y} r="18" class={`node ${state}`} />
          <text x={spot(id).x} y={spot(id).y + 5} class="id">
            {id}
          </text>
        </g>
      ))}
    </svg>
  );
}
