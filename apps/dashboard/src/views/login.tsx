/** The way in: by a token. */
import { useState } from "preact/hooks";
import { logIn, loginError } from "../model/session.ts";
import { ErrorBox } from "../parts/error-box.tsx";

export function Login() {
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget as HTMLFormElement).get("token") ?? "").trim();
    if (token === "") return;
    setBusy(true);
    await logIn(token);
    setBusy(false);
  };
  return (
    <main class="login">
      <h1>Blixard</h1>
      <form onSubmit={submit}>
        <label>
          Token
          <input name="token" type="password" autocomplete="off" spellcheck={false} required />
        </label>
        <p class="quiet">
          One that an administrator made (<code>blixard token create</code>), or that of <code>admin.token</code> in the
          data directory of a voter. It stays in this tab.
        </p>
        {loginError.value !== undefined && <ErrorBox error={loginError.value} />}
        <button type="submit" class="main" disabled={isBusy}>
          Log in
        </button>
      </form>
    </main>
  );
}
