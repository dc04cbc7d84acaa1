//! Connections: accepted, served, and ended when their caller is too slow or the server stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower_service::Service;

use super::body;
use crate::app::App;

/// Serves until `stop` resolves, then lets every request that has begun come to its answer.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) {
    let patience = app.config.load().server.request_timeout;
    let router = super::router(app);
    let (stopping, watched) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let (stream, caller) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        let (router, watched) = (router.clone(), watched.clone());
        tokio::spawn(connection(stream, caller, router, patience, watched));
    }
    drop((listener, watched));
    stopping.send_replace(true);
    stopping.closed().await;
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The caller's own affair.
            Err(e) if matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            // Most likely too many files are open; some of them will be closed.
            Err(e) => {
                tracing::error!(error = %e, "no connection can be accepted");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    caller: SocketAddr,
    router: Router,
    patience: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small and written at once: waiting to fill a packet only costs time.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| answer(router.clone(), caller, request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .serve_connection(TokioIo::new(stream), service);
    let mut told = false;
    let served = loop {
        tokio::select! {
            served = &mut connection => break served,
            _ = stopping.wait_for(|stopping| *stopping), if !told => {}
        }
        told = true;
        Pin::new(&mut connection).graceful_shutdown();
    };
    if served.is_err_and(|e| e.is_timeout()) {
        let parts = connection.into_parts();
        // A caller who has asked for nothing is owed no answer.
        if !parts.read_buf.is_empty() {
            let mut stream = parts.io.into_inner();
            let _ = stream.write_all(&on_the_wire(body::slow("head", patience).into_response()).await).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn answer(mut router: Router, caller: SocketAddr, request: Request<Incoming>) -> Result<Response, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(caller));
    router.call(request).await
}

/// hyper answers no request whose head it has not read.
async fn on_the_wire(answer: Response) -> Vec<u8> {
    let (head, body) = answer.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut wire = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", head.status, body.len()).into_bytes();
    for (name, value) in &head.headers {
        wire.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    wire.extend_from_slice(b"\r\n");
    wire.extend_from_slice(&body);
    wire
}
