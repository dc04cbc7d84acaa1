//! The compiled-in channels, one line each.

use plugin_api::Plugin;

pub(super) fn plugins() -> Vec<Box<dyn Plugin>> {
    vec![
        plugin_chatwoot::plugin(),
        plugin_email::plugin(),
        plugin_sms::plugin(),
        plugin_webhook::plugin(),
        plugin_whatsapp::plugin(),
    ]
}
