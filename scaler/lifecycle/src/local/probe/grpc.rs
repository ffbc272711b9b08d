//! A `grpc` probe: the health check of gRPC, as the kubelet makes it.

use std::net::SocketAddrV4;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use reveille_crds::health;
use tokio::net::TcpStream;

/// Whether the server there says that the service is serving. Cancel-safe: dropping it closes the connection.
pub(super) async fn is_serving(at: SocketAddrV4, service: &str) -> bool {
    check(at, service).await == Some(true)
}

async fn check(at: SocketAddrV4, service: &str) -> Option<bool> {
    let stream = TcpStream::connect(at).await.ok()?;
    let (sender, connection) = h2::client::handshake(stream).await.ok()?;
    // It moves the bytes; when it ends first, the question fails by itself.
    let driver = async {
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        answer = ask(sender, at, service) => answer,
        () = driver => None,
    }
}

async fn ask(sender: SendRequest<Bytes>, at: SocketAddrV4, service: &str) -> Option<bool> {
    let request = Request::post(format!("http://{at}{}", health::PATH))
        .version(http::Version::HTTP_2)
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .body(())
        .ok()?;
    let mut sender = sender.ready().await.ok()?;
    let (response, mut body) = sender.send_request(request, false).ok()?;
    let question = Bytes::from(health::question(service));
    body.send_data(question, true).ok()?;
    let mut answer = response.await.ok()?.into_body();
    let mut framed = Vec::new();
    while let Some(data) = answer.data().await {
        framed.extend_from_slice(&data.ok()?);
        if framed.len() > health::LONGEST_ANSWER {
            return None;
        }
    }
    let trailers = answer.trailers().await.ok()??;
    let is_ok = trailers
        .get("grpc-status")
        .is_some_and(|status| status == "0");
    Some(is_ok && health::is_serving(&framed))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderMap, HeaderValue, Response};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every check with that message and status; tells what was asked.
    async fn serve(listener: TcpListener, message: &'static [u8], status: &'static str) -> Vec<u8> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let answering = tokio::spawn(async move {
            assert_eq!(request.uri().path(), health::PATH);
            assert_eq!(request.headers()["content-type"], "application/grpc");
            let mut asked = Vec::new();
            let mut body = request.into_body();
            while let Some(data) = body.data().await {
                asked.extend_from_slice(&data.unwrap());
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream
                .send_data(Bytes::from_static(message), false)
                .unwrap();
            let status = (
                "grpc-status".parse().unwrap(),
                HeaderValue::from_static(status),
            );
            stream
                .send_trailers(HeaderMap::from_iter([status]))
                .unwrap();
            asked
        });
        while connection.accept().await.is_some() {}
        answering.await.unwrap()
    }

    #[tokio::test]
    async fn only_serving_with_an_ok_is_success() {
        for (message, status, serves) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], "0", true),
            (&[0, 0, 0, 0, 2, 8, 2], "0", false),
            (&[0, 0, 0, 0, 2, 8, 1], "13", false),
            (b"nonsense", "0", false),
            (&[], "5", false),
        ] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
            let server = tokio::spawn(serve(listener, message, status));
            assert_eq!(
                is_serving(at, "agent").await,
                serves,
                "{message:?} {status}"
            );
            assert_eq!(server.await.unwrap(), health::question("agent"));
            assert!(!is_serving(at, "").await, "nobody listens any more");
        }
    }
}
