/** Certificates for tests, signed by themselves and made by openssl; gone when the tests are. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** The files of a certificate, as `--tls-cert` and `--tls-key` take them. */
export interface TestCertificate {
  readonly tlsCert: string;
  readonly tlsKey: string;
}

/** A folder for a file of tests, and what makes certificates in it. */
export interface CertificateFolder {
  readonly path: string;
  /** A certificate for localhost and 127.0.0.1; `kind` is what `openssl req -newkey` takes. */
  make(name: string, kind?: readonly string[]): TestCertificate;
}

export const P256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];

export function certificateFolder(): CertificateFolder {
  const path = mkdtempSync(join(tmpdir(), 'holdline-tls-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return {
    path,
    make(name, kind = P256) {
      const tlsCert = join(path, `${name}.crt`);
      const tlsKey = join(path, `${name}.key`);
      const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
      const out = ['-nodes', '-keyout', tlsKey, '-out', tlsCert, '-days', '2'];
      const subject = ['-subj', `/CN=${name}`, '-addext', names];
      execFileSync('openssl', ['req', '-x509', '-newkey', ...kind, ...out, ...subject], {
        stdio: 'ignore',
      });
      return { tlsCert, tlsKey };
    },
  };
}

/** What a client needs to trust it. */
export function trust({ tlsCert }: TestCertificate): Buffer {
  return readFileSync(tlsCert);
}
