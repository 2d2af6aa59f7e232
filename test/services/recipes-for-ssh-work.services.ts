/**
 * The recipe for SSH beside TLS, from its file and by what its page has one type: a command runs by ssh, through a login by key at
 * an sshd that is known by its own, and a web server answers at the same port.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { run, serve } from './process.ts';
import { program } from './programs.ts';
import { tryIt } from './recipe.ts';

test('ssh and curl at one port', async (t) => {
  const sshd = await startSshd(t);
  const web = createServer((_, response) => response.end('the page\n'));
  const webPort = await closedPort();
  web.listen(webPort, '127.0.0.1');
  t.after(() => web.close());
  const directory = await certificatesOf(t, 'ssh-beside-tls');
  const proxy = await startRecipe(t, 'ssh-beside-tls', directory, {
    '127.0.0.1:22': `127.0.0.1:${sshd.port}`,
    '127.0.0.1:8080': `127.0.0.1:${webPort}`,
  });
  const port = proxy.port();
  const knownHosts = join(directory, 'known_hosts');
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${sshd.hostKey}\n`);
  const options = `-F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=${knownHosts}`;
  const { username } = userInfo();
  const tried = await tryIt('ssh-beside-tls', directory, {
    ':443': `:${port}`,
    'ssh -p 443 127.0.0.1': `ssh -p ${port} ${options} -i ${sshd.clientKey} ${username}@127.0.0.1`,
  });
  assert.match(tried.stdout, new RegExp(`^uid=\\d+\\(${username}\\).*\\nthe page\\n$`), tried.stderr);
  const line = await proxy.connectionLine(({ route }) => route === 'ssh');
  assert.deepEqual([line['phase'], line['code'], line['tls']], ['splice', undefined, undefined]);
});

const ownDirectory = '/run/sshd';

type Sshd = {
  readonly port: number;
  /** The public half of the server's key. */
  readonly hostKey: string;
  /** A file with a key by which whoever runs the tests can log in. */
  readonly clientKey: string;
};

/** An sshd with keys of its own, apart from the machine's. It runs as whoever runs the tests, who alone can log in. */
async function startSshd(t: TestContext): Promise<Sshd> {
  const directory = temporaryDirectory(t);
  const [hostKey, clientKey] = [join(directory, 'host'), join(directory, 'client')];
  for (const file of [hostKey, clientKey]) {
    const made = await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', file]);
    assert.equal(made.code, 0, made.stderr);
  }
  const port = await closedPort();
  const settings = [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${hostKey}`,
    `AuthorizedKeysFile ${clientKey}.pub`,
    // The file is below a directory that others can write to.
    'StrictModes no',
    'PidFile none',
    'UsePAM no',
    'PasswordAuthentication no',
    'PermitRootLogin prohibit-password',
  ];
  const file = join(directory, 'sshd_config');
  writeFileSync(file, `${settings.join('\n')}\n`);
  // Debian's makes this at boot; without it sshd does not start as root.
  const asRoot = process.getuid?.() === 0;
  if (asRoot && mkdirSync(ownDirectory, { recursive: true, mode: 0o755 }))
    t.after(() => rmdirSync(ownDirectory));
  // sshd starts itself anew for each connection, and wants to be called by its whole path for that.
  const command = ['-c', 'exec "$0" "$@"', program('sshd'), '-D', '-e', '-f', file];
  await serve(t, 'sh', command, { ready: () => accepts(port) });
  return { port, hostKey: readFileSync(`${hostKey}.pub`, 'utf8').trim(), clientKey };
}
