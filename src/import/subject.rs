//! The two things that come in files.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::AnyConnection;

use super::columns::{Kind, Known, known};
use super::{Raw, Subject};
use crate::app::App;
use crate::appointment::{self, AppointmentBody, NewAppointment, Times};
use crate::contact::{self, ContactBody, How, Import, Incoming, Rules};
use crate::error::Fault;
use crate::json::{self, BodyError};
use crate::store::StoreResult;
use crate::tenant::Tenant;

#[derive(Clone)]
pub struct Contacts {
    pub app: Arc<App>,
    pub tenant: Arc<Tenant>,
}

#[derive(Clone)]
pub struct Appointments {
    pub app: Arc<App>,
    pub tenant: Arc<Tenant>,
}

const fn as_json(field: &'static str) -> Known {
    Known { field, headers: &[], kind: Kind::Json }
}

const fn ignored(field: &'static str) -> Known {
    Known { field, headers: &[], kind: Kind::Ignored }
}

pub(super) const CONTACT: &[Known] = &[
    known("externalId", &["idexterno", "clienteid", "idcliente", "clientid", "customerid"]),
    known("name", &["nombre", "nombrecompleto", "cliente", "fullname", "nombres", "firstname"]),
    known("lastName", &["apellido", "apellidos", "surname"]),
    known(
        "phone",
        &["telefono", "celular", "movil", "whatsapp", "tel", "mobile", "phonenumber", "numero", "telefonocelular"],
    ),
    known("email", &["correo", "correoelectronico", "mail", "emailaddress", "direcciondecorreo"]),
    known("locale", &["idioma", "lenguaje", "language"]),
    known("timezone", &["zonahoraria"]),
    as_json("attributes"),
    as_json("preferences"),
    as_json("consents"),
    ignored("appointments"),
    ignored("createdAt"),
    ignored("updatedAt"),
    ignored("erasedAt"),
];

const APPOINTMENT: &[Known] = &[
    known("externalId", &["folio", "cita", "idcita", "citaid", "appointmentid"]),
    known("contactId", &["contacto", "clienteid", "idcliente", "clientid", "customerid"]),
    known("phone", &["telefono", "celular", "movil", "whatsapp", "tel", "mobile"]),
    known("email", &["correo", "correoelectronico", "mail"]),
    known("startsAt", &["inicio", "fecha", "fechahora", "fechayhora", "start", "starttime"]),
    known("endsAt", &["fin", "termina", "end", "endtime"]),
    known("status", &["estado", "estatus"]),
    known("service", &["servicio"]),
    known("professional", &["profesional", "estilista", "empleado", "doctor"]),
    known("branchId", &["sucursal", "sucursalid", "idsucursal"]),
    as_json("attributes"),
    ignored("createdAt"),
    ignored("updatedAt"),
];

impl Subject for Contacts {
    const KIND: &'static str = "contacts";
    type Row = Incoming;

    fn columns(&self) -> &'static [Known] {
        CONTACT
    }

    fn check_columns(&self, has: &dyn Fn(&str) -> bool) -> Result<(), (&'static str, &'static str)> {
        if has("phone") || has("email") {
            return Ok(());
        }
        Err(("no_address_column", "no column is a phone or an e-mail address; name one \"phone\" or \"email\""))
    }

    fn check(&self, raw: Raw, line: i64) -> Result<Incoming, Fault> {
        let rules = Rules { app: &self.app, tenant: &self.tenant, now: self.app.now() };
        let change = body::<ContactBody>(raw)?.check(&rules).map_err(in_one)?;
        Ok(Incoming { line, change, how: How::Merge, known: None })
    }

    async fn write(
        &self,
        conn: &mut AnyConnection,
        import: &mut Import,
        rows: Vec<Incoming>,
    ) -> StoreResult<Vec<Result<bool, Fault>>> {
        let saved =
            contact::save(conn, self.app.db.engine, &self.tenant.id, Some(import), rows, self.app.now()).await?;
        Ok(saved.into_iter().map(|saved| saved.map(|s| s.created)).collect())
    }
}

impl Subject for Appointments {
    const KIND: &'static str = "appointments";
    type Row = NewAppointment;

    fn columns(&self) -> &'static [Known] {
        APPOINTMENT
    }

    fn check_columns(&self, has: &dyn Fn(&str) -> bool) -> Result<(), (&'static str, &'static str)> {
        if !has("externalId") || !has("startsAt") {
            return Err(("column_missing", "an appointment needs the columns \"externalId\" and \"startsAt\""));
        }
        if !["contactId", "phone", "email"].into_iter().any(has) {
            return Err(("no_address_column", "no column says whose it is: \"contactId\", \"phone\" or \"email\""));
        }
        Ok(())
    }

    fn check(&self, raw: Raw, line: i64) -> Result<NewAppointment, Fault> {
        let rules = Rules { app: &self.app, tenant: &self.tenant, now: self.app.now() };
        let times = if matches!(raw, Raw::Fields(_)) { Times::OrLocal } else { Times::Absolute };
        body::<AppointmentBody>(raw)?.check(&rules, times, line).map_err(in_one)
    }

    async fn write(
        &self,
        conn: &mut AnyConnection,
        import: &mut Import,
        rows: Vec<NewAppointment>,
    ) -> StoreResult<Vec<Result<bool, Fault>>> {
        let (engine, now) = (self.app.db.engine, self.app.now());
        let saved = appointment::save(conn, engine, &self.tenant.id, Some(import), rows, now).await?;
        Ok(saved.into_iter().map(|saved| saved.map(|s| s.created)).collect())
    }
}

fn body<T: DeserializeOwned>(raw: Raw) -> Result<T, Fault> {
    let read = match raw {
        Raw::Json(bytes) => json::parse(&bytes),
        Raw::Fields(fields) => json::from_value(Value::Object(fields)),
    };
    read.map_err(|e| match e {
        BodyError::Malformed { detail, column, .. } => {
            Fault::new("", "malformed_json", format!("{detail} (column {column})"))
        }
        BodyError::Fault { pointer, code, detail } => Fault::new(pointer, code, detail),
    })
}

/// A refused line has one reason; where there are several, its sentence holds them all.
fn in_one(faults: Vec<Fault>) -> Fault {
    let detail: Vec<&str> = faults.iter().map(|f| f.detail.as_str()).collect();
    let detail = detail.join("; ");
    let Fault { pointer, code, .. } = faults.into_iter().next().unwrap_or_else(|| Fault::new("", "refused", ""));
    Fault::new(pointer, code, detail)
}
