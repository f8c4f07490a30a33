"""The ``gpuguard`` command; the plugin never imports it."""
