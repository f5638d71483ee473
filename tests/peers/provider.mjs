// A provider at which people sign in, by another author (oidc-provider): it judges what Leasehold asks for and sends.
// Called by the tests: node provider.mjs REDIRECT_URI UNIX_SECONDS [SECRET]. Prints its address; ends with its input.
import { createServer } from "node:http";

const [redirectUri, seconds, secret] = process.argv.slice(2);
const RealDate = Date;
const now = Number(seconds) * 1000;
// The clock of the tests stands still.
globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [now]));
  }
  static now() {
    return now;
  }
};
const { default: Provider } = await import("oidc-provider");
const { generateKeyPair, exportJWK } = await import("jose");

const { privateKey } = await generateKeyPair("RS256", { extractable: true });
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const address = `http://127.0.0.1:${server.address().port}`;
  exportJWK(privateKey).then((jwk) => {
    const provider = new Provider(address, {
      clients: [
        {
          client_id: "leasehold",
          redirect_uris: [redirectUri],
          ...(secret ? { client_secret: secret } : { token_endpoint_auth_method: "none" }),
        },
      ],
      jwks: { keys: [{ ...jwk, alg: "RS256", use: "sig", kid: "peer" }] },
      claims: { openid: ["sub"], profile: ["name"], groups: ["groups"] },
      scopes: ["openid", "profile", "groups"],
      conformIdTokenClaims: false,
      cookies: { keys: ["one secret of these tests"] },
      findAccount: (_, id) => ({
        accountId: id,
        claims: () => ({ sub: `sub-of-${id}`, name: id, groups: [`of-${id}`] }),
      }),
    });
    provider.on("server_error", (_, error) => console.error(error));
    server.on("request", provider.callback());
    console.log(JSON.stringify({ url: address }));
  });
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
