/** hitch with one worker: it terminates, and nothing else. It has one backend a process, so there are several of them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  ciphers12,
  ciphers13,
  clientGroups,
  type Front,
  fronts,
  type Launch,
  type Prepared,
  type Site,
  type UpstreamKind,
} from './fronts.ts';

/** Writes its configurations: a process for each upstream. */
export function prepareHitch(binary: string, site: Site): Prepared {
  const served = fronts.filter(
    ({ mode, upstream, postQuantum, starttls }) =>
      mode === 'terminate' && upstream !== 'mutual_tls' && !postQuantum && !starttls,
  );
  const logFile = join(site.directory, 'hitch.log');
  const kinds = [...new Set(served.map(({ upstream }) => upstream))];
  return {
    launches: kinds.map((kind) => launch(binary, kind, served, site, logFile)),
    served,
    logFile,
    logs: 'errors only (log-level 1, its own default)',
  };
}

function launch(
  binary: string,
  kind: UpstreamKind,
  served: readonly Front[],
  site: Site,
  logFile: string,
): Launch {
  const mine = served.filter(({ upstream }) => upstream === kind);
  const file = join(site.directory, `hitch-${kind}.conf`);
  writeFileSync(file, [head(kind, site, logFile), ...mine.map((front) => frontend(front, site))].join('\n'));
  return { command: [binary, `--config=${file}`], output: join(site.directory, `hitch-${kind}.out`) };
}

function head(kind: UpstreamKind, site: Site, logFile: string): string {
  return `backend = "[${site.upstreamAddress}]:${site.upstreamPorts[kind]}"
workers = 1
daemon = off
${process.getuid?.() === 0 ? 'user = "root"' : ''}
log-level = 1
log-filename = "${logFile}"
tls-protos = TLSv1.2 TLSv1.3
ciphers = "${ciphers12.join(':')}"
ciphersuites = "${ciphers13.join(':')}"
prefer-server-ciphers = on
ecdh-curve = "${clientGroups.join(':')}"
ocsp-dir = ""
`;
}

function frontend(front: Front, { address, ports, files }: Site): string {
  const auth = front.clientAuth ? `  client-verify = required\n  client-verify-ca = "${files.ca}"\n` : '';
  return `frontend = {
  host = "${address}"
  port = "${ports[front.name]}"
  pem-file = "${files[front.key].pem}"
${auth}}
`;
}
