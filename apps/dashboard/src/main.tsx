/** The page of a node. */
import { render } from "preact";
import { App } from "./app.tsx";
import { poller } from "./model/cluster.ts";
import { followPlace } from "./model/place.ts";
import { followLogins, startSession } from "./model/session.ts";
import "./style.css";

const root = document.getElementById("page");
if (root !== null) render(<App />, root);
void startSession();
addEventListener("hashchange", () => void followLogins());
followPlace();
document.addEventListener("visibilitychange", () => poller.wake());
addEventListener("online", () => poller.wake());
