import jakarta.mail.Authenticator;
import jakarta.mail.Message;
import jakarta.mail.PasswordAuthentication;
import jakarta.mail.Session;
import jakarta.mail.Transport;
import jakarta.mail.internet.InternetAddress;
import jakarta.mail.internet.MimeBodyPart;
import jakarta.mail.internet.MimeMessage;
import jakarta.mail.internet.MimeMultipart;
import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Properties;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManagerFactory;

/** Sends one mail with Jakarta Mail. */
public class JakartaMail {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.put("mail.smtp.host", env("SMTP_HOST"));
        properties.put("mail.smtp.port", env("SMTP_PORT"));
        properties.put("mail.smtp.auth", "true");
        properties.put("mail.smtp.starttls.enable", "true");
        properties.put("mail.smtp.starttls.required", "true");
        properties.put("mail.smtp.ssl.checkserveridentity", "true");
        properties.put("mail.smtp.ssl.socketFactory", trusting(env("SMTP_CA")));
        Session session = Session.getInstance(properties, new Authenticator() {
            @Override
            protected PasswordAuthentication getPasswordAuthentication() {
                return new PasswordAuthentication(env("SMTP_USER"), env("SMTP_PASSWORD"));
            }
        });

        MimeMessage message = new MimeMessage(session);
        message.setFrom(new InternetAddress(env("MAIL_FROM"), env("MAIL_FROM_NAME"), "utf-8"));
        message.setRecipients(Message.RecipientType.TO, env("MAIL_TO"));
        message.setRecipients(Message.RecipientType.BCC, env("MAIL_BCC"));
        message.setSubject(env("MAIL_SUBJECT"), "utf-8");
        message.setContent(content());
        Transport.send(message);
    }

    static MimeMultipart content() throws Exception {
        MimeBodyPart text = new MimeBodyPart();
        text.setText(env("MAIL_TEXT"), "utf-8");
        MimeBodyPart html = new MimeBodyPart();
        html.setText(env("MAIL_HTML"), "utf-8", "html");
        MimeBodyPart bodies = new MimeBodyPart();
        bodies.setContent(new MimeMultipart("alternative", text, html));
        MimeBodyPart attachment = new MimeBodyPart();
        attachment.attachFile(env("MAIL_ATTACHMENT"), "application/pdf", "base64");
        return new MimeMultipart(bodies, attachment);
    }

    /** Java reads no PEM file by itself: only for a certificate that the system does not trust anyway. */
    static SSLSocketFactory trusting(String pemFile) throws Exception {
        KeyStore authorities = KeyStore.getInstance(KeyStore.getDefaultType());
        authorities.load(null, null);
        try (FileInputStream pem = new FileInputStream(pemFile)) {
            authorities.setCertificateEntry(
                "ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(authorities);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        return context.getSocketFactory();
    }

    static String env(String name) {
        return System.getenv(name);
    }
}
