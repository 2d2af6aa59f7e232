/**
 * `npm run audit:signatures`: every package of the lock file has a valid signature of the registry, and those with an attestation
 * of their build have a valid one. It fails on one that is invalid or missing; where the registry, or the transparency log that
 * vouches for its keys, cannot be asked, it says so and does not fail.
 */
import { spawnSync } from 'node:child_process';

const { stdout } = spawnSync('npm', ['audit', 'signatures', '--json', '--fetch-retries=1'], {
  encoding: 'utf8',
  timeout: 300_000,
});
process.exitCode = judge(read(stdout));

/** npm's answer: two lists, or the reason why there are none. */
function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {
      error: { code: 'EANSWER', summary: `npm answered ${JSON.stringify(String(text).slice(0, 200))}` },
    };
  }
}

function judge({ error, invalid, missing }) {
  if (Array.isArray(invalid) && Array.isArray(missing)) {
    for (const { name, version, code } of invalid)
      say(`${name}@${version}: the signature is not valid (${code})`);
    for (const { name, version } of missing)
      say(`${name}@${version}: the registry signs packages, but not this one`);
    if (invalid.length + missing.length > 0) return 1;
    say('every package has a valid signature');
    return 0;
  }
  // What npm says when it cannot ask. Anything else, such as a key that has expired, is a failure.
  const unreachable =
    /^(E(NOTFOUND|AI_AGAIN|CONNREFUSED|CONNRESET|TIMEDOUT|NETUNREACH|HOSTUNREACH|404|403|40[15]|50\d)|ENOAUDIT.*|ERR_SOCKET_TIMEOUT|FETCH_ERROR)$/;
  const reason = `${error?.code}: ${String(error?.summary).replace(/https?:\/\/\S+/g, '…')}`;
  if (unreachable.test(String(error?.code))) {
    say(`NOT CHECKED: the registry gives no signatures here (${reason})`);
    return 0;
  }
  say(`failed: ${reason}`);
  return 1;
}

function say(text) {
  process.stdout.write(`signatures: ${text}\n`);
}
