/** The recipe for SSH beside TLS, from its file and by what its page has one type: sshd, known by its key, and a web server. */
import assert from 'node:assert/strict';
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { certificatesOf, startRecipe } from '../support/recipes.ts';
import { closedPort } from '../support/upstream.ts';
import { accepts } from './client.ts';
import { ordinaryUser, run, serve } from './process.ts';
import { program } from './programs.ts';
import { tryIt } from './recipe.ts';

test('ssh and curl at one port', async (t) => {
  const { port: sshPort, key } = await startSshd(t);
  const web = createServer((_, response) => response.end('the page\n'));
  const webPort = await closedPort();
  web.listen(webPort, '127.0.0.1');
  t.after(() => web.close());
  const directory = await certificatesOf(t, 'ssh-beside-tls');
  const proxy = await startRecipe(t, 'ssh-beside-tls', directory, {
    '127.0.0.1:22': `127.0.0.1:${sshPort}`,
    '127.0.0.1:8080': `127.0.0.1:${webPort}`,
  });
  const port = proxy.port();
  const knownHosts = join(directory, 'known_hosts');
  writeFileSync(knownHosts, `[127.0.0.1]:${port} ${key}\n`);
  const options = `-F none -o BatchMode=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=${knownHosts}`;
  const tried = await tryIt('ssh-beside-tls', directory, {
    ':443': `:${port}`,
    'ssh -p 443 127.0.0.1 id': `ssh -p ${port} ${options} nobody@127.0.0.1 id || true`,
  });
  // Nobody can log in, but that is for sshd to say, once it has proved to have its key.
  assert.match(tried.stderr, /^nobody@127\.0\.0\.1: Permission denied/m);
  assert.match(tried.stdout, /^the page$/m);
});

/** An sshd with a key of its own, by which nobody can log in. `key` is the public half. */
async function startSshd(t: TestContext): Promise<{ port: number; key: string }> {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'key');
  const made = await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', file]);
  assert.equal(made.code, 0, made.stderr);
  // As root it would want a directory for its own safety that packages make at boot.
  const user = ordinaryUser('nobody');
  if (user !== undefined) for (const path of [directory, file]) chownSync(path, user.uid, user.gid);
  const port = await closedPort();
  const options = ['-D', '-e', '-f', '/dev/null', '-h', file, '-o', `ListenAddress=127.0.0.1:${port}`];
  const more = ['-o', 'PidFile=none', '-o', 'UsePAM=no'];
  // sshd starts itself anew for each connection, and wants to be called by its whole path for that.
  const command = ['-c', 'exec "$0" "$@"', program('sshd'), ...options, ...more];
  await serve(t, 'sh', command, { user, ready: () => accepts(port) });
  return { port, key: readFileSync(`${file}.pub`, 'utf8').trim() };
}
