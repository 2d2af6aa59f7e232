/** The flags of `penstock pki`, as commander has them. */
import type { Command } from 'commander';
import type { Output } from './command.ts';

/** Adds the subcommands; they set the exit code of the process. */
export function addPkiCommand(program: Command, output?: Output): void {
  const pki = program.command('pki').description('a development CA: certificates, keys, CRL');
  pki
    .command('init')
    .description('create a CA in a directory: ca.crt, ca.key, ca.crl')
    .argument('<dir>', 'the directory; created if missing')
    .option('--name <name>', 'the CA’s common name (default: penstock development CA, and a number)')
    .option('--days <n>', 'how long it is valid', '3650')
    .option('--force', 'replace an existing CA')
    .action(async (dir, options) => {
      process.exitCode = await (await commands()).pkiInit(dir, options, output);
    });
  pki
    .command('issue')
    .description('issue a certificate and its key: NAME.crt, NAME.key')
    .argument('<dir>', 'the directory of the CA')
    .argument('<name>', 'host name, address, or name of the client')
    .option('--client', 'for a client (default: for a server)')
    .option('--server', 'with --client: for both, as needed by members of clusters such as etcd')
    .option('--san <name...>', 'dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS (default: the name itself)')
    .option('--days <n>', 'how long it is valid', '365')
    .option('--rsa', 'use an RSA key, for clients without ECDSA (default: ECDSA P-256)')
    .option('--self-signed', 'not signed by the CA: trusted by its pin, which is printed')
    .option('--force', 'replace an existing one')
    .action(async (dir, name, options) => {
      process.exitCode = await (await commands()).pkiIssue(dir, name, options, output);
    });
  pki
    .command('revoke')
    .description('add a certificate, and those it has replaced, to the CRL of its CA')
    .argument('<dir>', 'the directory of the CA')
    .argument('<name>', 'the name it was issued under')
    .option('--replaced', 'only those that `issue --force` has replaced')
    .action(async (dir, name, options) => {
      process.exitCode = await (await commands()).pkiRevoke(dir, name, options, output);
    });
  pki
    .command('list')
    .description('list a directory: certificates, expiry, revoked or not, pins')
    .argument('<dir>', 'the directory of the CA')
    .action(async (dir) => {
      process.exitCode = await (await commands()).pkiList(dir, output);
    });
  pki
    .command('config')
    .description('print a complete configuration that uses all of it')
    .argument('<dir>', 'the directory of the CA')
    .option('--bind <address>', 'where to listen', '127.0.0.1:8443')
    .option('--upstream <address>', 'where to forward to', '127.0.0.1:8080')
    .action(async (dir, options) => {
      process.exitCode = await (await commands()).pkiConfig(dir, options, output);
    });
}

/** Loaded when one of them is asked for. */
function commands() {
  return import('./command.ts');
}
