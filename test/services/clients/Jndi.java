import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Hashtable;
import javax.naming.Context;
import javax.naming.ldap.InitialLdapContext;
import javax.naming.ldap.StartTlsRequest;
import javax.naming.ldap.StartTlsResponse;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/**
 * JNDI, by which Java reaches directories: asks each server for TLS by StartTLS, logs in, and prints which versions of LDAP its root entry names.
 * Arguments: the file of an authority, then URLs.
 */
class Jndi {
  public static void main(String[] args) throws Exception {
    SSLSocketFactory tls = trusting(args[0]);
    for (int at = 1; at < args.length; at++) {
      Hashtable<String, String> where = new Hashtable<>();
      where.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.ldap.LdapCtxFactory");
      where.put(Context.PROVIDER_URL, args[at]);
      InitialLdapContext context = new InitialLdapContext(where, null);
      StartTlsResponse response = (StartTlsResponse) context.extendedOperation(new StartTlsRequest());
      response.negotiate(tls);
      context.addToEnvironment(Context.SECURITY_AUTHENTICATION, "simple");
      context.addToEnvironment(Context.SECURITY_PRINCIPAL, "cn=anna,cn=example");
      context.addToEnvironment(Context.SECURITY_CREDENTIALS, "secret");
      System.out.println(context.getAttributes("", new String[] {"supportedLDAPVersion"}));
      response.close();
      context.close();
    }
  }

  private static SSLSocketFactory trusting(String file) throws Exception {
    KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    try (FileInputStream stream = new FileInputStream(file)) {
      trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(stream));
    }
    TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(trusted);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);
    return context.getSocketFactory();
  }
}
