/** The page: who is logged in, which view is open, and whether the node answers. */
import { useEffect, useState } from "preact/hooks";
import { forget, loadsOf, loadsOfVm, poller, status, trouble } from "./model/cluster.ts";
import { seconds } from "./model/format.ts";
import { hrefOf, type Place, place, type ViewName, views } from "./model/place.ts";
import { logOut, session } from "./model/session.ts";
import { ErrorBox } from "./parts/error-box.tsx";
import { Notice } from "./parts/notice.tsx";
import { Images } from "./views/images.tsx";
import { Login } from "./views/login.tsx";
import { Nodes } from "./views/nodes.tsx";
import { Operations } from "./views/operations.tsx";
import { Overview } from "./views/overview.tsx";
import { VmDetail } from "./views/vm-detail.tsx";
import { Vms } from "./views/vms.tsx";

const titles: Readonly<Record<ViewName, string>> = {
  overview: "Overview",
  nodes: "Nodes",
  vms: "VMs",
  images: "Images",
  operations: "Operations",
};

export function App() {
  if (session.value === "starting") return <p class="quiet">Logging in …</p>;
  if (session.value === undefined) return <Login />;
  return <Page who={session.value.who} role={session.value.role} />;
}

function Page({ who, role }: { readonly who: string; readonly role: string }) {
  const { view, vm } = place.value;
  useEffect(() => {
    document.title = `${vm ?? titles[view]} – Blixard`;
    poller.follow(vm === undefined ? loadsOf[view] : loadsOfVm(vm));
  }, [view, vm]);
  useEffect(() => forget, []);
  return (
    <>
      <button type="button" class="skip" onClick={skip}>
        To the content
      </button>
      <header>
        <h1>Blixard</h1>
        <nav aria-label="Views">
          {views.map((name) => (
            <a key={name} href={hrefOf(name)} aria-current={name === view ? "page" : undefined}>
              {titles[name]}
            </a>
          ))}
        </nav>
        <span class="who">
          {who} ({role})
        </span>
        <button type="button" onClick={logOut}>
          Log out
        </button>
      </header>
      <Trouble />
      <main id="content" tabIndex={-1}>
        <View place={place.value} />
      </main>
      <Notice />
    </>
  );
}

function skip(): void {
  document.getElementById("content")?.focus();
}

function View({ place: { view, vm } }: { readonly place: Place }) {
  switch (view) {
    case "overview":
      return <Overview />;
    case "nodes":
      return <Nodes />;
    case "vms":
      return vm === undefined ? <Vms /> : <VmDetail name={vm} />;
    case "images":
      return <Images />;
    case "operations":
      return <Operations />;
    default:
      return view satisfies never;
  }
}

/** Why nothing new comes, when something comes again, and where else to ask. */
function Trouble() {
  const [nowMs, setNow] = useState(Date.now());
  const { value } = trouble;
  useEffect(() => {
    if (value === undefined) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [value]);
  if (value === undefined) return null;
  const others = (status.value?.members ?? []).filter(({ id }) => id !== status.value?.nodeId);
  return (
    <section class="trouble" aria-label="Connection">
      <ErrorBox error={value.error} />
      <p>
        Asked again in {seconds(value.againAtMs - nowMs)}.{" "}
        <button type="button" onClick={() => poller.wake()}>
          Ask now
        </button>
      </p>
      {value.error.status === 0 && others.length > 0 && (
        <p>
          Other nodes serve this page too:{" "}
          {others.map(({ id, addresses }) => `node ${id} at ${addresses.join(", ")}`).join("; ")}
        </p>
      )}
    </section>
  );
}
