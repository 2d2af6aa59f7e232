/** What docs/starttls.md says of every protocol: penstock's health check and `penstock probe` know its servers. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { checksOf, isDown, passed } from '../support/health.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';

/** A server with TLS, whose certificate for this name is of the authority, PEM. */
export type Known = {
  readonly protocol: string;
  readonly port: number;
  readonly name: string;
  readonly authority: string;
};

/** Checks it before TLS and within it, and has it probed. */
export async function isKnown(t: TestContext, { protocol, port, name, authority }: Known): Promise<void> {
  const address = `127.0.0.1:${port}`;
  const around = { sections: { authorities: { its: { ca: 'ca.crt' } } }, files: { 'ca.crt': authority } };
  const health_check = { type: protocol, interval: '1s', timeout: '10s', unhealthy_after: 1 };
  const tls = { starttls: protocol, authority: 'its', server_name: name };
  for (const upstream of [{}, { tls }]) {
    const checks = await checksOf(t, { endpoints: [address], health_check, ...upstream }, around);
    const { up, reason } = await checks.report(address, (it) => passed(it) || isDown(it));
    assert.ok(up, `${protocol}: ${reason}`);
  }
  const { ca } = pathsOf(t, { ca: authority });
  const seen = await probeTarget(address, { starttls: protocol as 'imap', sni: name, ca });
  assert.equal(seen.starttls, protocol);
  assert.equal(seen.penstock.connects, true, JSON.stringify(seen.penstock));
}
