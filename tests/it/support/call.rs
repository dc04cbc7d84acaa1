//! Requests through the router, and what can be asked of their answers.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use serde_json::Value;
use tower::ServiceExt;

/// Somebody with credentials.
#[derive(Clone)]
pub struct Caller {
    router: Router,
    headers: HeaderMap,
}

impl Caller {
    /// Without credentials.
    pub fn nobody(router: Router) -> Self {
        Self { router, headers: HeaderMap::new() }
    }

    /// The same credentials at another door.
    pub fn at(&self, router: Router) -> Self {
        Self { router, headers: self.headers.clone() }
    }

    pub fn with_key(&self, key: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {key}"))
    }

    pub fn for_tenant(&self, id: &str) -> Self {
        self.with_header("x-tenant-id", id)
    }

    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.headers.insert(name, HeaderValue::from_str(value).unwrap());
        caller
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_else(|e| panic!("{path}: {e}"));
        *request.headers_mut() = self.headers.clone();
        Call { router: self.router.clone(), request }
    }

    /// A request made elsewhere, as it is.
    pub fn with_request(&self, request: Request<Body>) -> Call {
        Call { router: self.router.clone(), request }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Call {
        self.call(Method::PUT, path).json(body)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Call {
        self.call(Method::PATCH, path).json(body)
    }
}

/// A request that is sent when it is awaited.
pub struct Call {
    router: Router,
    request: Request<Body>,
}

impl Call {
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.request.body_mut() = body.into();
        self
    }

    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.request.headers_mut().insert(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    pub fn without(mut self, name: &'static str) -> Self {
        self.request.headers_mut().remove(name);
        self
    }

    /// As the listener would say where the request came from.
    pub fn coming_from(mut self, address: &str) -> Self {
        let address: std::net::SocketAddr = address.parse().unwrap();
        self.request.extensions_mut().insert(axum::extract::ConnectInfo(address));
        self
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { router, request } = self;
        Box::pin(async move {
            let what = format!("{} {}", request.method(), request.uri());
            let response = router.oneshot(request).await.unwrap();
            let (parts, body) = response.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap();
            Answer { what, status: parts.status.as_u16(), headers: parts.headers, body }
        })
    }
}

pub struct Answer {
    /// Method and path of the request.
    pub what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{}: {e}: {}", self.what, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// The JSON of an answer that has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// It is this problem, and well formed.
    #[track_caller]
    pub fn is_problem(&self, status: u16, slug: &str) -> Value {
        let text = self.text();
        assert_eq!(self.status, status, "{}: {text}", self.what);
        assert_eq!(self.header(header::CONTENT_TYPE.as_str()), Some("application/problem+json"), "{}", self.what);
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{slug}"), "{}: {text}", self.what);
        assert_eq!(problem["status"], status, "{}: {text}", self.what);
        for field in ["title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|t| !t.is_empty()), "{}: no {field}: {text}", self.what);
        }
        problem
    }

    /// It is this problem, and among its errors is this one; returns that one's sentence.
    #[track_caller]
    pub fn has_fault(&self, slug: &str, pointer: &str, code: &str) -> String {
        let problem = self.is_problem(422, slug);
        let fits = |e: &&Value| e["pointer"] == pointer && e["code"] == code;
        let found = problem["errors"].as_array().and_then(|errors| errors.iter().find(fits));
        let detail = found.unwrap_or_else(|| panic!("{}: no {code} at {pointer:?} in {}", self.what, self.text()));
        detail["detail"].as_str().unwrap().to_owned()
    }

    /// Everything a caller could tell two answers apart by.
    pub fn visible(&self) -> (u16, Vec<(String, String)>, Bytes) {
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id")
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        headers.sort();
        (self.status, headers, self.body.clone())
    }
}
