pub mod address; // phones and e-mails in the one spelling that is stored and matched
pub mod sms; // what a text costs as SMS
pub mod template; // Handlebars templates: built in, strict about missing values
