// Signing in with a passkey, and making one: the two things that a browser does with a script only. No script of anybody else is loaded.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const say = (message) => { document.getElementById("passkey-error").textContent = message; };
  const send = async (path, body) => {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json" }, body: JSON.stringify(body) });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(told.detail || told.title || "That did not work.");
    return told;
  };
  const signIn = async (base, next) => {
    const { options, kept } = await send(base + "/sign-in/passkey/begin", {});
    const publicKey = options.publicKey;
    publicKey.challenge = bytes(publicKey.challenge);
    for (const known of publicKey.allowCredentials || []) known.id = bytes(known.id);
    const used = await navigator.credentials.get({ publicKey });
    const { clientDataJSON, authenticatorData, signature, userHandle } = used.response;
    const credential = {
      id: used.id, rawId: text(used.rawId), type: used.type, extensions: used.getClientExtensionResults(),
      response: { clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature), userHandle: userHandle && text(userHandle) },
    };
    location.assign((await send(base + "/sign-in/passkey", { kept, credential, next })).next);
  };
  const make = async (base, form, name, password) => {
    const { options, kept } = await send(base + "/passkeys/begin", { form, name, password });
    const publicKey = options.publicKey;
    publicKey.challenge = bytes(publicKey.challenge);
    publicKey.user.id = bytes(publicKey.user.id);
    for (const known of publicKey.excludeCredentials || []) known.id = bytes(known.id);
    const made = await navigator.credentials.create({ publicKey });
    const credential = {
      id: made.id, rawId: text(made.rawId), type: made.type, extensions: {},
      response: { clientDataJSON: text(made.response.clientDataJSON), attestationObject: text(made.response.attestationObject) },
    };
    location.assign((await send(base + "/passkeys", { form, kept, credential })).next);
  };
  const on = (button, work) => button.addEventListener("click", async () => {
    say("");
    button.disabled = true;
    try { await work(); } catch (error) {
      say(error.name === "NotAllowedError" ? "Nothing was chosen, or it took too long." : error.message);
    }
    button.disabled = false;
  });
  if (!window.PublicKeyCredential) return;
  const entrance = document.getElementById("passkey");
  if (entrance) {
    entrance.hidden = false;
    on(document.getElementById("use-passkey"), () => signIn(entrance.dataset.base, entrance.dataset.next));
  }
  const panel = document.getElementById("passkey-panel");
  if (panel) {
    document.getElementById("new-passkey").hidden = false;
    const value = (id) => document.getElementById(id).value;
    on(document.getElementById("make-passkey"), () => make(panel.dataset.base, panel.dataset.form, value("passkey-name"), value("passkey-password")));
  }
})();
