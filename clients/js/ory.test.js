// Ory's published JavaScript clients sign in and out against a running Caddy,
// which the environment names; nothing here knows that it is not Ory Kratos.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { before, describe, test } from "node:test";

const require = createRequire(import.meta.url);

const basePath = fromEnv("CADDY_LOGOUT_URL");
const identifier = fromEnv("CADDY_LOGOUT_ACCOUNT");
const password = fromEnv("CADDY_LOGOUT_PASSWORD");
const returnTo = fromEnv("CADDY_LOGOUT_RETURN_TO");

function fromEnv(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: it says what to test against`);
  return value;
}

// cookies turns Set-Cookie lines into the Cookie header a browser would send.
function cookies(response, earlier = "") {
  const jar = new Map();
  for (const pair of earlier.split("; ").filter(Boolean)) {
    jar.set(pair.slice(0, pair.indexOf("=")), pair);
  }
  for (const line of response.headers["set-cookie"] ?? []) {
    const pair = line.split(";", 1)[0];
    const name = pair.slice(0, pair.indexOf("="));
    if (/;\s*max-age=0(;|$)/i.test(line)) jar.delete(name);
    else jar.set(name, pair);
  }
  return [...jar.values()].join("; ");
}

// refused expects a call to fail with an error envelope of the given status.
async function refused(call, status) {
  const error = await call.then(
    () => assert.fail(`want status ${status}, but the call succeeded`),
    (e) => e,
  );
  assert.equal(error.response?.status, status, String(error));
  assert.equal(error.response.data.error.code, status);
  assert.ok(error.response.data.error.id, "an error without an id");
  return error.response.data.error;
}

for (const name of ["@ory/kratos-client", "@ory/client"]) {
  const { Configuration, FrontendApi } = require(name);
  const ory = new FrontendApi(new Configuration({ basePath }));

  async function signInNative() {
    const { data: flow } = await ory.createNativeLoginFlow();
    const { data } = await ory.updateLoginFlow({
      flow: flow.id,
      updateLoginFlowBody: { method: "password", identifier, password },
    });
    assert.match(data.session_token, /^ory_st_/);
    return data;
  }

  async function signInBrowser() {
    const created = await ory.createBrowserLoginFlow();
    const node = created.data.ui.nodes.find((n) => n.attributes.name === "csrf_token");
    assert.ok(node, "the login flow has no csrf_token");
    const jar = cookies(created);
    const signedIn = await ory.updateLoginFlow({
      flow: created.data.id,
      updateLoginFlowBody: {
        method: "password",
        identifier,
        password,
        csrf_token: node.attributes.value,
      },
      cookie: jar,
    });
    assert.equal(signedIn.data.session_token, undefined, "a browser's script must not see the credential");
    return { session: signedIn.data.session, cookie: cookies(signedIn, jar) };
  }

  describe(name, () => {
    test("a native client signs in and out", async () => {
      const { session_token: token, session } = await signInNative();
      const { data: mine } = await ory.toSession({ xSessionToken: token });
      assert.equal(mine.id, session.id);
      assert.equal(mine.active, true);
      assert.equal(mine.authenticator_assurance_level, "aal1");
      assert.equal(mine.authentication_methods[0].method, "password");
      assert.ok(mine.identity.traits, "the identity has no traits");
      assert.ok(Date.parse(mine.expires_at) > Date.now());
      assert.equal(mine.devices.length, 1);

      const body = { performNativeLogoutBody: { session_token: token } };
      assert.equal((await ory.performNativeLogout(body)).status, 204);
      await refused(ory.toSession({ xSessionToken: token }), 401);
      assert.equal((await ory.performNativeLogout(body)).status, 204, "a second logout is no error");
      await refused(
        ory.performNativeLogout({ performNativeLogoutBody: { session_token: "ory_st_unknown" } }),
        403,
      );
    });

    test("a browser signs in and out", async () => {
      const { session, cookie } = await signInBrowser();
      assert.equal((await ory.toSession({ cookie })).data.id, session.id);

      const { data: flow } = await ory.createBrowserLogoutFlow({ cookie });
      const url = new URL(flow.logout_url);
      assert.equal(url.pathname, "/self-service/logout");
      assert.equal(url.searchParams.get("token"), flow.logout_token);

      const submitted = await ory.updateLogoutFlow({ token: flow.logout_token, cookie });
      assert.equal(submitted.status, 204);
      assert.ok(!cookies(submitted, cookie).includes("ory_kratos_session"), "the cookie is not cleared");
      await refused(ory.toSession({ cookie }), 401);
      await refused(ory.createBrowserLogoutFlow({ cookie }), 401);
      const again = await ory.updateLogoutFlow({ token: flow.logout_token, cookie });
      assert.equal(again.status, 204, "a second click is answered like the first");
    });

    test("return_to is checked and kept", async () => {
      const { cookie } = await signInBrowser();
      const { data: flow } = await ory.createBrowserLogoutFlow({ cookie, returnTo });
      assert.equal(new URL(flow.logout_url).searchParams.get("return_to"), returnTo);
      const error = await refused(
        ory.createBrowserLogoutFlow({ cookie, returnTo: "https://evil.example/" }),
        400,
      );
      assert.equal(error.id, "self_service_flow_return_to_forbidden");
      await refused(ory.updateLogoutFlow({ token: flow.logout_token, returnTo: "https://evil.example/", cookie }), 400);
      assert.equal((await ory.toSession({ cookie })).status, 200, "a refused return_to must not sign out");
      assert.equal((await ory.updateLogoutFlow({ token: flow.logout_token, returnTo, cookie })).status, 204);
    });

    test("a logout token of another session is refused", async () => {
      const one = await signInBrowser();
      const two = await signInBrowser();
      const { data: flow } = await ory.createBrowserLogoutFlow({ cookie: one.cookie });
      await refused(ory.updateLogoutFlow({ token: flow.logout_token, cookie: two.cookie }), 403);
      await refused(ory.updateLogoutFlow({ token: flow.logout_token }), 401);
      for (const { cookie } of [one, two]) {
        assert.equal((await ory.toSession({ cookie })).status, 200);
      }
    });

    describe("the sessions of one person", () => {
      let mine, other, third;
      before(async () => {
        mine = await signInNative();
        await ory.disableMyOtherSessions({ xSessionToken: mine.session_token });
        other = await signInNative();
        third = await signInNative();
      });

      test("are listed without the current one, ended one by one, then all", async () => {
        const xSessionToken = mine.session_token;
        const listed = await ory.listMySessions({ xSessionToken });
        assert.deepEqual(
          listed.data.map((s) => s.id).sort(),
          [other.session.id, third.session.id].sort(),
        );

        const ended = await ory.disableMySession({ id: other.session.id, xSessionToken });
        assert.equal(ended.status, 204);
        await refused(ory.toSession({ xSessionToken: other.session_token }), 401);
        assert.equal((await ory.toSession({ xSessionToken: third.session_token })).status, 200);
        await refused(ory.disableMySession({ id: mine.session.id, xSessionToken }), 400);

        assert.equal((await ory.disableMyOtherSessions({ xSessionToken })).data.count, 1);
        await refused(ory.toSession({ xSessionToken: third.session_token }), 401);
        assert.deepEqual((await ory.listMySessions({ xSessionToken })).data, []);
        assert.equal((await ory.toSession({ xSessionToken })).data.id, mine.session.id);
      });

      test("are closed to strangers", async () => {
        await refused(ory.toSession(), 401);
        await refused(ory.listMySessions(), 401);
        await refused(ory.disableMyOtherSessions(), 401);
        await refused(ory.disableMySession({ id: mine.session.id }), 401);
      });
    });
  });
}
