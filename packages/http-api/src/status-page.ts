/** The page at `/`: nodes, leader and VMs, read through the API with a token that stays in the browser tab. */
import { createHash } from "node:crypto";

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color-scheme: light dark }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .75rem .25rem 0 }
th { font-weight: 600; border-bottom: 1px solid #8888 } #message { min-height: 1.5em; color: #b50 } input { width: 24rem }
`;

const script = `
const byId = (id) => document.getElementById(id);
let token = sessionStorage.getItem("blixard-token") ?? "";
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  sessionStorage.setItem("blixard-token", token);
  refresh();
});
async function get(path) {
  const answer = await fetch(path, { headers: { authorization: "Bearer " + token } });
  const body = await answer.json();
  // A token that is not good now is not tried again: the person gives another one.
  if (answer.status === 401 || answer.status === 403) {
    token = "";
    sessionStorage.removeItem("blixard-token");
  }
  if (!answer.ok) throw new Error(body.error.message);
  return body;
}
function fill(id, rows) {
  byId(id).replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => Object.assign(document.createElement("td"), { textContent: String(cell ?? "-") })));
    return row;
  }));
}
async function refresh() {
  if (token === "") return;
  try {
    const status = await get("/v1/status");
    byId("form").hidden = true;
    byId("summary").textContent = "cluster " + status.clusterId + ", leader " + (status.leaderId ?? "unknown") +
      ", term " + status.term + ", applied index " + status.appliedIndex;
    fill("members", status.members.map((m) => [m.id, m.name, m.role, m.id === status.leaderId ? "leader" : "",
      m.path, m.rttMs === null ? null : m.rttMs.toFixed(1) + " ms", m.addresses.join(" ")]));
    const vms = await get("/v1/vms?consistency=stale&limit=500");
    fill("vms", vms.items.map((vm) => [vm.name, vm.phase, vm.node, vm.spec.image, vm.spec.vcpus, vm.spec.memoryMiB + " MiB", vm.guest,
      [vm.reason, ...vm.conditions.map((c) => c.reason)].join(", ")]));
    byId("message").textContent = vms.next === undefined ? "" : "only the first " + vms.items.length + " VMs are shown";
  } catch (error) {
    byId("message").textContent = error.message;
    byId("form").hidden = false;
  }
}
setInterval(refresh, 2000);
refresh();
`;

const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Blixard</title><style>${style}</style></head><body>
<h1>Blixard</h1>
<form id="form"><label>Token (admin.token in the data directory of a voter): <input id="token" type="password"></label>
<button>Open</button></form>
<p id="message" role="status"></p><p id="summary"></p>
<h2>Nodes</h2><table><thead><tr><th>id<th>name<th>role<th><th>path<th>rtt<th>addresses</tr></thead><tbody id="members"></tbody></table>
<h2>VMs</h2><table><thead><tr><th>name<th>phase<th>node<th>image<th>vCPUs<th>memory<th>guest<th>reason</tr></thead><tbody id="vms"></tbody></table>
<script>${script}</script></body></html>
`;

const sha256 = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

export const statusPage = {
  html,
  contentSecurityPolicy: `default-src 'none'; connect-src 'self'; script-src ${sha256(script)}; style-src ${sha256(style)}; frame-ancestors 'none'`,
} as const;
