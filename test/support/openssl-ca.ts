/** Certificates and revocation lists as `openssl` makes them: with whatever extensions a test is about. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Credential, pinOf } from './certificates.ts';

export type Recipe = {
  /** Who signs; nobody: it is self-signed. */
  readonly by?: Credential | undefined;
  /** Lines of a section of extensions (x509v3_config(5)). */
  readonly extensions?: readonly string[];
  /** For `-newkey`, with its options. */
  readonly newKey?: readonly string[];
  readonly digest?: string;
};

/** Keys on P-256 and SHA-256, unless the recipe says otherwise. Files are left in the directory. */
export function opensslCertificate(directory: string, cn: string, recipe: Recipe = {}): Credential {
  const {
    by,
    extensions = [],
    newKey = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
    digest = 'sha256',
  } = recipe;
  const file = (name: string) =>
    join(directory, `${cn.replaceAll(/\W/g, '-')}-${randomBytes(4).toString('hex')}.${name}`);
  const [config, key, cert, caCert, caKey] = ['cnf', 'key', 'crt', 'ca.crt', 'ca.key'].map(file);
  const lines = ['[req]', 'distinguished_name = dn', '[dn]', '[ext]', ...extensions];
  writeFileSync(config as string, `${lines.join('\n')}\n`);
  const args = [
    'req',
    '-x509',
    '-config',
    config,
    '-extensions',
    'ext',
    '-nodes',
    '-days',
    '2',
    `-${digest}`,
  ];
  args.push('-subj', `/CN=${cn}`, '-newkey', ...newKey, '-keyout', key, '-out', cert);
  if (by) {
    writeFileSync(caCert as string, by.cert);
    writeFileSync(caKey as string, by.key);
    args.push('-CA', caCert, '-CAkey', caKey);
  }
  execFileSync('openssl', args as string[], { stdio: 'pipe' });
  const pem = readFileSync(cert as string, 'utf8');
  const chain = pem + (by?.chain ?? '');
  return {
    cert: pem,
    key: readFileSync(key as string, 'utf8'),
    chain: by ? chain : '',
    pin: pinOf(pem),
    serial: '',
  };
}

/** An empty list of the CA, with these extensions; good for a day. */
export function opensslCrl(directory: string, by: Credential, extensions: readonly string[]): string {
  const file = (name: string) => join(directory, `${randomBytes(4).toString('hex')}.${name}`);
  const [config, index, number, cert, key, crl] = ['cnf', 'index', 'number', 'crt', 'key', 'crl'].map(
    file,
  ) as [string, string, string, string, string, string];
  writeFileSync(index, '');
  writeFileSync(number, '01\n');
  writeFileSync(cert, by.cert);
  writeFileSync(key, by.key);
  const lines = ['[ca]', 'default_ca = own', '[own]', `database = ${index}`, `crlnumber = ${number}`];
  lines.push('default_md = sha256', 'default_crl_days = 1', 'crl_extensions = ext', '[ext]', ...extensions);
  writeFileSync(config, `${lines.join('\n')}\n`);
  execFileSync('openssl', ['ca', '-gencrl', '-config', config, '-cert', cert, '-keyfile', key, '-out', crl], {
    stdio: 'pipe',
  });
  return readFileSync(crl, 'utf8');
}
